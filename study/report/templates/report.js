(() => {
  const $ = (id) => document.getElementById(id);
  const { forScheme } = Figures;
  const { common, trials } = JSON.parse($("explorer").textContent);

  function sortBy(table, column, heading) {
    const body = table.tBodies[0];
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const compare = (one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // unknown values come last in either order
      const numbers = Number(a) - Number(b);
      const order = Number.isNaN(numbers) ? a.localeCompare(b) : numbers;
      return ascending ? order : -order;
    };
    body.append(...[...body.rows].sort(compare));
  }

  function filter() {
    const [state, depth] = [$("state-filter").value, $("depth-filter").value];
    const words = $("text-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      row.hidden = (state !== "" && row.dataset.state !== state) || (depth !== "" && row.dataset.depth !== depth)
        || !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    $("trial-count").textContent = `${shown} of ${table.tBodies[0].rows.length} trials`;
  }

  function line(trial, name, curve, color, dash) {
    return { x: trial.steps, y: trial[curve], name, mode: "lines+markers", line: { color: forScheme(color), dash, width: 2 } };
  }

  function plot(element, trial, kind, title, tickformat) {
    const ink = forScheme("#333a44");
    const end = { type: "line", x0: trial.head + 0.5, x1: trial.head + 0.5, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1, color: "#8a8f98" } };
    const axis = { gridcolor: "rgba(128,128,128,0.22)", zeroline: false };
    Plotly.react(element, [line(trial, "train", `train_${kind}`, "#d55e00", "dash"), line(trial, "validation", `val_${kind}`, "#0072b2", "solid")], {
      height: 280, margin: { l: 50, r: 10, t: 40, b: 40 }, font: { color: ink, size: 12 }, title: { text: title, font: { size: 14 }, x: 0.02 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
      xaxis: { ...axis, title: { text: "epoch" }, dtick: Math.max(1, Math.ceil(trial.steps.length / 12)) }, yaxis: { ...axis, tickformat }, shapes: [end],
    }, { responsive: true, displayModeBar: false });
  }

  function list(element, values) {
    element.replaceChildren(...Object.entries(values).flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = typeof value === "number" ? String(Number(value.toPrecision(5))) : JSON.stringify(value).replaceAll('"', "");
      return [term, description];
    }));
  }

  function open(row) {
    const trial = trials[row.dataset.trial];
    const cells = [...row.cells].map((cell) => cell.textContent);
    $("trial-title").textContent = `Trial ${row.dataset.trial}`;
    $("trial-summary").textContent = [`${cells[1]}, depth ${cells[2] || "unknown"}`, cells[3] && `best epoch ${cells[3]}`, cells.at(-1)].filter(Boolean).join("; ");
    list($("trial-values"), trial.values);
    list($("trial-common"), common);
    $("trial").showModal();
    for (const [kind, title, format] of [["accuracy", "Accuracy", ".0%"], ["loss", "Loss", ".2f"]]) {
      const element = $(`trial-${kind}`);
      element.hidden = !trial.steps;
      if (trial.steps) plot(element, trial, kind, title, format);
    }
  }

  const table = $("trial-table");
  [...table.tHead.rows[0].cells].forEach((heading, column) =>
    heading.querySelector("button").addEventListener("click", () => sortBy(table, column, heading)));
  for (const name of ["state-filter", "depth-filter", "text-filter"]) $(name).addEventListener("input", filter);
  table.tBodies[0].addEventListener("click", (event) => open(event.target.closest("tr")));
  $("trial-close").addEventListener("click", () => $("trial").close());
  $("trial").addEventListener("click", (event) => event.target === $("trial") && $("trial").close());
  filter();
})();
