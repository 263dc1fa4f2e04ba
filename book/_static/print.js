// Paper is white and cannot be clicked: print in the light colours, with answers and hints unfolded, then go back.
(() => {
  "use strict";
  const root = document.documentElement;
  let theme = null;
  let folded = [];
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    folded = [...document.querySelectorAll("details.sd-dropdown:not([open]), .hoi-verdict details:not([open])")];
    for (const fold of folded) fold.open = true;
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    for (const fold of folded) fold.open = false;
  });
})();
