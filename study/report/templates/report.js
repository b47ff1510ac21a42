"use strict";
(() => {
  const drawn = document.getElementById("figures").textContent;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  // The same hues, lightened for dark paper.
  const lightened = [
    ["#0072b2", "#56b4e9"], ["#d55e00", "#f0944d"], ["rgba(0,114,178,0.16)", "rgba(86,180,233,0.2)"],
    ["rgba(213,94,0,0.16)", "rgba(240,148,77,0.2)"], ["#333a44", "#d5dbe3"], ["#4c63d2", "#7d90f0"],
  ];

  function draw() {
    const text = dark.matches ? lightened.reduce((all, [from, to]) => all.replaceAll(from, to), drawn) : drawn;
    const figures = JSON.parse(text);
    for (const place of document.querySelectorAll(".plot")) {
      const sizes = figures[place.dataset.figure];
      const { data, layout } = (narrow.matches && sizes.narrow) || sizes.wide;
      if (narrow.matches) Object.assign(layout.margin, { l: 46, r: 8 });
      if (narrow.matches) layout.font.size = 12;
      place.style.minHeight = `${layout.height}px`;
      Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
    }
  }

  function sortBy(table, column, heading) {
    const body = table.tBodies[0];
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const order = (one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last either way
      const numbers = Number(a) - Number(b);
      const found = Number.isNaN(numbers) ? a.localeCompare(b) : numbers;
      return ascending ? found : -found;
    };
    body.append(...[...body.rows].sort(order));
  }

  const table = document.getElementById("trial-table");
  [...table.tHead.rows[0].cells].forEach((heading, column) =>
    heading.querySelector("button").addEventListener("click", () => sortBy(table, column, heading)));
  document.getElementById("state-filter").addEventListener("change", (event) => {
    for (const row of table.tBodies[0].rows) {
      row.hidden = event.target.value !== "" && row.dataset.state !== event.target.value;
    }
  });
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw();
})();
