import io

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from plotly.subplots import make_subplots

from study.analysis import summarize
from study.report.chapters import all_figures, write_chapters
from study.report.png import image
from study.report.style import VALIDATION, figure
from study.results.study_results import read_study


def pixels(drawing):
    return Image.open(io.BytesIO(image(drawing))).convert("RGB")


def colours(drawing):
    return {colour for _, colour in pixels(drawing).getcolors(1 << 24)}


def blue_rows(drawing):
    """Return the number of pixel rows with a pixel in the colour of validation."""
    return int((np.asarray(pixels(drawing)) == BLUE).all(axis=2).any(axis=1).sum())


BLUE = (0, 114, 178)


@pytest.mark.parametrize(
    "draw",
    [
        lambda f: f.add_scatter(x=[0, 1, 2], y=[0, 1, 0], mode="lines", line={"color": VALIDATION, "width": 3}),
        lambda f: f.add_scatter(x=[0, 1], y=[0, 1], mode="markers", marker={"color": VALIDATION, "size": 20}),
        lambda f: f.add_scatter(x=[0, 1], y=[0, 1], mode="markers", marker={"color": VALIDATION, "size": [9, 20]}),
        lambda f: f.add_bar(x=[1, 2], y=[3, 4], marker={"color": VALIDATION}),
        lambda f: f.add_bar(x=[3, 4], y=["a", "b"], orientation="h", marker={"color": VALIDATION}),
        lambda f: f.add_scatter(x=[0, 1, 1, 0], y=[0, 0, 1, 1], fill="toself", fillcolor="rgb(0,114,178)"),
        lambda f: f.add_bar(x=[1], y=[3], marker={"color": "#d55e00"}, error_y={"array": [1], "color": VALIDATION}),
        lambda f: f.add_scatter(x=[0, 1], y=[0, 0], line={"width": 0}).add_scatter(
            x=[0, 1], y=[1, 1], line={"width": 0}, fill="tonexty", fillcolor="rgba(0,114,178,1)"
        ),
        lambda f: f.add_heatmap(z=[[0, 1], [1, 0]], colorscale=[[0, "#ffffff"], [1, VALIDATION]]),
    ],
)
def test_every_type_of_trace_is_drawn_in_its_colour(draw):
    drawing = figure(300)
    assert BLUE not in colours(drawing)
    draw(drawing)
    assert BLUE in colours(drawing)


def test_names_with_dollar_signs_are_no_formulas():
    drawing, names = figure(300), [r"$\frac$", "$5 {$"]
    drawing.add_heatmap(z=[[0, 1], [1, 0]], x=names, y=names, colorscale=[[0, "#ffffff"], [1, VALIDATION]])
    drawing.update_layout(annotations=[{"text": names[0]}])
    assert BLUE in colours(drawing)
    drawing = figure(300).add_scatter(x=[0], y=[0], name=names[0], marker={"color": VALIDATION, "size": 20})
    drawing.update_xaxes(tickvals=[0], ticktext=names[:1])
    drawing.update_layout(showlegend=True)
    assert BLUE in colours(drawing)


def test_every_figure_of_a_report_becomes_an_image(demo):
    read = read_study("demo", demo)
    for shown in all_figures(write_chapters(read, summarize(read))):
        for drawing in shown.drawings.values():
            width, height = pixels(drawing).size
            assert 700 < width < 1300, shown.id
            assert height > 150, shown.id


def test_panels_that_share_an_axis_have_one_range():
    apart, shared = (make_subplots(1, 2, shared_yaxes=which) for which in (False, "all"))
    for drawing in (apart, shared):
        drawing.add_scatter(x=[0, 1], y=[0, 1], row=1, col=1, line={"color": VALIDATION})
        drawing.add_scatter(x=[0, 1], y=[0, 100], row=1, col=2, line={"color": "#d55e00"})
        drawing.update_layout(template="none", height=300, showlegend=False)

    # On an axis up to 100, a line that rises to 1 is flat.
    assert blue_rows(shared) < blue_rows(apart) / 4


def blue_at(drawing):
    """Return the mean row and column of the pixels in the colour of validation, from the upper left."""
    rows, columns = np.nonzero((np.asarray(pixels(drawing)) == BLUE).all(axis=2))
    return rows.mean(), columns.mean()


def test_a_reversed_axis_has_small_values_at_the_top():
    drawing = figure(300).add_scatter(x=[0], y=[1], mode="markers", marker={"color": VALIDATION, "size": 12})
    drawing.add_scatter(x=[0], y=[0], mode="markers", marker={"color": "#d55e00", "size": 12})
    above = blue_at(drawing)[0]
    drawing.update_yaxes(autorange="reversed")
    assert blue_at(drawing)[0] > above + 100


def test_ticks_of_a_logarithmic_axis_do_not_widen_it():
    drawing = figure(300).add_scatter(x=[2, 40], y=[0, 0], mode="markers", marker={"color": "#d55e00", "size": 12})
    drawing.add_scatter(x=[80], y=[0], mode="markers", marker={"color": VALIDATION, "size": 12})
    drawing.update_xaxes(type="log")
    without = blue_at(drawing)[1]
    drawing.update_xaxes(tickvals=[1e-3, 10, 1e6], ticktext=["0.001", "10", "1000000"])
    assert abs(blue_at(drawing)[1] - without) < 10


def test_an_unknown_type_of_trace_is_refused():
    with pytest.raises(ValueError, match="pie"):
        image(go.Figure(go.Pie(values=[1])))
