"use strict";
const Figures = (() => {
  const drawn = document.getElementById("figures").textContent;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  // The same hues, lightened for dark mode.
  const lightened = [
    ["#0072b2", "#56b4e9"], ["#d55e00", "#f0944d"], ["rgba(0,114,178,0.16)", "rgba(86,180,233,0.2)"],
    ["rgba(213,94,0,0.16)", "rgba(240,148,77,0.2)"], ["#333a44", "#d5dbe3"], ["#4c63d2", "#7d90f0"],
    ["#009e73", "#3fc79f"],
  ];

  const forScheme = (text) => (dark.matches ? lightened.reduce((all, [from, to]) => all.replaceAll(from, to), text) : text);

  function draw() {
    const figures = JSON.parse(forScheme(drawn));
    for (const element of document.querySelectorAll(".plot[data-figure]")) {
      const sizes = figures[element.dataset.figure];
      const { data, layout } = (narrow.matches && sizes.narrow) || sizes.wide;
      if (narrow.matches) Object.assign(layout.margin, { l: 46, r: 8 });
      if (narrow.matches) layout.font.size = 12;
      element.style.minHeight = `${layout.height}px`;
      Plotly.react(element, data, layout, { responsive: true, displayModeBar: false });
    }
  }

  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw();
  return { forScheme };
})();
