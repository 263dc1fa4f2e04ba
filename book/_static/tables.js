// A table that is wider than a phone is read row by row: each row a card, each cell under the name of its column.
(() => {
  "use strict";
  const fit = () => {
    for (const table of document.querySelectorAll(".bd-article table")) {
      table.classList.remove("hoi-cards-of-rows");
      if (innerWidth > 600 || table.scrollWidth <= table.clientWidth + 1) continue;
      const names = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
      if (!names.length || table.querySelector("[rowspan], [colspan]")) continue;
      for (const row of table.querySelectorAll("tbody tr")) {
        [...row.children].forEach((cell, i) => { cell.dataset.column = names[i] || ""; });
      }
      table.classList.add("hoi-cards-of-rows");
    }
  };
  addEventListener("load", fit);
  addEventListener("resize", fit);
})();
