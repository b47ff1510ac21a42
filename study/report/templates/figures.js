"use strict";
const Figures = (() => {
  const drawings = document.getElementById("figures").textContent;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  // The same hues, lightened for dark mode.
  const lightened = [
    ["#0072b2", "#56b4e9"], ["#d55e00", "#f0944d"], ["rgba(0,114,178,0.16)", "rgba(86,180,233,0.2)"],
    ["rgba(213,94,0,0.16)", "rgba(240,148,77,0.2)"], ["#333a44", "#d5dbe3"], ["#4c63d2", "#7d90f0"],
    ["#009e73", "#3fc79f"], ["#8a8f98", "#aab1bb"],
  ];

  const forScheme = (text) => (dark.matches ? lightened.reduce((all, [from, to]) => all.replaceAll(from, to), text) : text);

  // A figure has no width in a closed section, so it is drawn when the section opens.
  function draw(part) {
    const shown = [...part.querySelectorAll(".plot[data-figure]")].filter((element) => !element.closest("details:not([open])"));
    if (!shown.length) return;
    const figures = JSON.parse(forScheme(drawings));
    for (const element of shown) {
      const sizes = figures[element.dataset.figure];
      const { data, layout } = (narrow.matches && sizes.narrow) || sizes.wide;
      if (narrow.matches) Object.assign(layout.margin, { l: 46, r: 8 });
      if (narrow.matches) layout.font.size = 12;
      element.style.minHeight = `${layout.height}px`;
      Plotly.react(element, data, layout, { responsive: true, displayModeBar: false });
    }
  }

  // Opens the sections around the target of the page's address, which not every browser does.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    for (let section = target?.closest("details:not([open])"); section; section = target.closest("details:not([open])")) {
      section.open = true;
      draw(section);
      target.scrollIntoView();
    }
  }

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("main details:not([open])")];
    for (const section of closed) section.open = true;
    for (const section of closed) draw(section);
  });
  addEventListener("afterprint", () => {
    for (const section of closed) section.open = false;
  });
  document.addEventListener("toggle", ({ target }) => target.open && draw(target), true);
  addEventListener("hashchange", reveal);
  for (const query of [dark, narrow]) query.addEventListener("change", () => draw(document));
  draw(document);
  reveal();
  return { forScheme };
})();
