(() => {
  // the book's own copy of the viewer, once per page, wherever in the book the page stands
  const here = (document.documentElement.dataset.content_root || "../../") + "_static/hoi/";
  const load = (name) => new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: here + name, onload: done, onerror: failed });
    document.head.append(script);
  });
  if (!window.hoiViewerReady) {
    const style = document.createElement("link");
    Object.assign(style, { rel: "stylesheet", href: here + "viewer.css" });
    document.head.append(style);
    window.hoiViewerReady = load("three.min.js").then(() => load("viewer.js"));
  }
  window.hoiViewerReady.then(() => window.hoiViewer.mountAll());
})();
