"use strict";
/** Draw the charts; called by the bundle when it has loaded. */
globalThis.bsbatchCharts = async () => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const config = { background: null, view: { stroke: null }, font: getComputedStyle(document.body).fontFamily, axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 }, legend: { labelFontSize: 12, offset: 6 } };
  await Promise.all([...document.querySelectorAll(".chart")].map((place) =>
    bsbatchEmbed(place, specs[place.dataset.chart], { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config })));
  document.documentElement.dataset.charts = "drawn";
  performance.mark("drawn");
};
