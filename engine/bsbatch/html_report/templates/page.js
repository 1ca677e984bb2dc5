"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const [ID, SCORE, POSITIVE, KNOWN, REASON, CAMERA, EVIDENCE, FLAGS, MAPS, COUNTS_A, COUNTS_P, LINK, PICTURE] = Array(13).keys();
  const examinations = data.examinations;
  const rowOf = new Map(examinations.map((row) => [row[ID], row]));
  const pictures = examinations.filter((row) => row[PICTURE] !== null).length;
  const PER_PAGE = 50, CARDS = data.sheet;

  /** Create an element; children are text or elements, never markup. */
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  const sheets = new Map();
  /** Pictures of one page of the gallery, parsed on first use. */
  function sheetAt(place) {
    if (!sheets.has(place)) sheets.set(place, JSON.parse(document.getElementsByClassName("sheet")[place].textContent));
    return sheets.get(place);
  }
  const pictureOf = (row) => sheetAt(Math.floor(row[PICTURE] / CARDS))[row[PICTURE] % CARDS];

  // colours

  const THEMES = ["auto", "light", "dark"];
  function setTheme(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Colours: ${theme}`;
    byId("theme").setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system" : theme}`);
    try { localStorage.setItem("bsbatch-theme", theme); } catch { /* a page from a file may have no storage */ }
  }
  function storedTheme() {
    try { return localStorage.getItem("bsbatch-theme"); } catch { return null; }
  }
  let theme = THEMES.includes(storedTheme()) ? storedTheme() : "auto";
  setTheme(theme);
  byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    setTheme(theme);
  });

  // text of a row

  const known = (row) => (row[KNOWN] === null ? "" : row[KNOWN] ? "metastasis" : "no metastasis");
  const predicted = (row) => (row[REASON] ? "failed" : row[POSITIVE] ? "metastasis" : "no metastasis");
  const warningsOf = (row) => [...row[FLAGS], ...row[MAPS]];
  /** Three decimals; no score is shown as certain. */
  const score = (value) => (value === null ? "" : value >= 0.9995 ? ">0.999" : value < 0.0005 ? "<0.001" : value.toFixed(3));
  const counts = (value) => (value === null ? "" : value.toLocaleString("en", { maximumFractionDigits: 0 }));

  function tag(name, kind = "") {
    return make("span", { class: `tag ${kind}`, title: data.words[name] ?? "" }, name);
  }
  function scoreCell(row) {
    if (row[SCORE] === null) return [];
    const bar = make("i");
    bar.style.width = `${100 * row[SCORE]}%`;
    return [score(row[SCORE]), make("span", { class: row[POSITIVE] ? "meter high" : "meter", "aria-hidden": "true" }, bar)];
  }
  function mapCell(row) {
    if (row[PICTURE] !== null) {
      const label = `Show scan and heat map of ${row[ID]}`;
      return [make("button", { type: "button", class: "link", "aria-label": label, onclick: () => view(row) }, "show")];
    }
    return row[LINK] ? [make("a", { href: row[LINK], target: "_blank", rel: "noopener" }, "open image")] : [];
  }

  const COLUMNS = [
    { name: "examination", value: (row) => row[ID], cell: (row) => [make("code", { title: row[ID] }, row[ID].slice(0, 12))] },
    { name: data.score, value: (row) => row[SCORE], cell: scoreCell, number: true },
    { name: "predicted", value: predicted, cell: (row) => [row[REASON] ? tag(row[REASON], "warn") : predicted(row)] },
    ...(data.labelled ? [{ name: "known", value: known }] : []),
    { name: "map", value: (row) => (row[PICTURE] !== null ? 2 : row[LINK] ? 1 : 0), cell: mapCell },
    { name: "warnings", value: (row) => warningsOf(row).length, cell: (row) => [...row[FLAGS].map((name) => tag(name)), ...row[MAPS].map((name) => tag(name, "warn"))] },
    { name: "camera", value: (row) => row[CAMERA] },
    { name: "views named by", value: (row) => row[EVIDENCE] },
    { name: "kcounts ant", value: (row) => row[COUNTS_A], cell: (row) => [counts(row[COUNTS_A])], number: true },
    { name: "kcounts post", value: (row) => row[COUNTS_P], cell: (row) => [counts(row[COUNTS_P])], number: true },
  ];

  // the table: filtered, sorted, one page of it in the document

  let sorting = { column: COLUMNS[1], descending: true };
  let shown = examinations, page = 0;

  const OUTCOMES = {
    positive: (row) => !row[REASON] && row[POSITIVE],
    negative: (row) => !row[REASON] && !row[POSITIVE],
    failed: (row) => row[REASON],
    tp: (row) => row[KNOWN] === 1 && row[POSITIVE],
    fp: (row) => row[KNOWN] === 0 && row[POSITIVE],
    fn: (row) => row[KNOWN] === 1 && !row[POSITIVE],
    tn: (row) => row[KNOWN] === 0 && !row[POSITIVE],
  };

  function wanted() {
    const form = new FormData(byId("filters"));
    const words = form.get("text").toLowerCase().split(/\s+/).filter(Boolean);
    const outcome = OUTCOMES[form.get("outcome")], warning = form.get("warning");
    const low = form.get("low") === "" ? null : Number(form.get("low"));
    const high = form.get("high") === "" ? null : Number(form.get("high"));
    return (row) => {
      if (outcome && !outcome(row)) return false;
      if (warning && !(warning === "*" ? warningsOf(row).length : warningsOf(row).includes(warning))) return false;
      if (low !== null && !(row[SCORE] !== null && row[SCORE] >= low)) return false;
      if (high !== null && !(row[SCORE] !== null && row[SCORE] <= high)) return false;
      const text = [row[ID], row[CAMERA], row[EVIDENCE], row[REASON] ?? "", ...warningsOf(row)].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    };
  }

  /** Compare two rows; empty values come last in both directions. */
  function compare(one, other) {
    const [a, b] = [sorting.column.value(one), sorting.column.value(other)];
    if (a === b) return one[ID] < other[ID] ? -1 : 1;
    if (a === null || a === "") return 1;
    if (b === null || b === "") return -1;
    return (a < b ? -1 : 1) * (sorting.descending ? -1 : 1);
  }

  function refresh() {
    shown = examinations.filter(wanted()).sort(compare);
    page = 0;
    drawRows();
  }

  function drawRows() {
    const rows = shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    byId("rows").replaceChildren(...rows.map((row) => make("tr", {}, ...COLUMNS.map((column) =>
      make("td", { class: column.number ? "number" : null }, ...(column.cell ? column.cell(row) : [column.value(row)]))))));
    const count = (number) => number.toLocaleString("en");
    byId("shown").textContent = shown.length === examinations.length
      ? `${count(shown.length)} examinations` : `${count(shown.length)} of ${count(examinations.length)} examinations`;
    for (const head of byId("heads").children) {
      if (head.dataset.name === sorting.column.name) head.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    paginate(byId("table-pages"), page, Math.ceil(shown.length / PER_PAGE), (next) => { page = next; drawRows(); });
  }

  function paginate(place, current, total, go) {
    if (total <= 1) return place.replaceChildren();
    const held = place.contains(document.activeElement) ? document.activeElement.dataset.step : null;
    const button = (words, step, next) => {
      const element = make("button", { type: "button", "data-step": step, onclick: () => go(next) }, words);
      element.disabled = next < 0 || next >= total;
      return element;
    };
    place.replaceChildren(button("Previous", "back", current - 1), `page ${current + 1} of ${total}`, button("Next", "on", current + 1));
    if (held) (place.querySelector(`[data-step="${held}"]:not(:disabled)`) ?? place.querySelector("button:not(:disabled)")).focus();
  }

  byId("heads").append(...COLUMNS.map((column) => make("th", { scope: "col", "data-name": column.name, class: column.number ? "number" : null },
    make("button", { type: "button", onclick: () => {
      sorting = { column, descending: sorting.column === column ? !sorting.descending : Boolean(column.number) || column.name === "map" || column.name === "warnings" };
      refresh();
    } }, column.name))));
  byId("filters").addEventListener("input", (event) => { if (event.target.matches("input")) refresh(); });
  byId("filters").addEventListener("change", (event) => { if (event.target.matches("select")) refresh(); });
  byId("filters").addEventListener("reset", () => setTimeout(refresh));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.addEventListener("click", () => {
      byId("filters").reset();
      byId("filters").elements.warning.value = button.dataset.filter;
      refresh();
      byId("examinations").scrollIntoView();
      byId("filters").elements.warning.focus({ preventScroll: true });
    });
  }

  byId("save").addEventListener("click", () => {
    const cell = (value) => {
      const text = value === null ? "" : String(value);
      const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // a spreadsheet would read this text as a formula
      return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const head = ["exam_id", "p_metastasis", "predicted", "known", "reason", "camera", "view_evidence", "warnings"];
    const lines = shown.map((row) => [row[ID], row[SCORE], row[REASON] ? "" : row[POSITIVE], row[KNOWN], row[REASON], row[CAMERA], row[EVIDENCE], warningsOf(row).join(" ")]);
    const text = [head, ...lines].map((line) => line.map(cell).join(",")).join("\n");
    const address = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
    make("a", { href: address, download: "examinations.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address));
  });

  // scan and map

  /** Scan and heat map, one over the other, with a slider that uncovers the map from the left. */
  function slider(picture, row) {
    const about = `${data.score} ${score(row[SCORE])}, ${predicted(row)}`;
    const size = { width: 400, height: picture.height };
    if (!picture.scan) {
      const only = make("img", { src: picture.overlay, alt: `Heat map over the scan, ${about}`, ...size });
      return [make("div", { class: "stack whole" }, only), make("div", { class: "ends" }, "This older run wrote no scan without the heat map.")];
    }
    const stack = make("div", { class: "stack whole" },
      make("img", { src: picture.scan, alt: `Anterior and posterior view, ${about}`, ...size }),
      make("img", { src: picture.overlay, alt: `The same with the heat map, ${about}`, class: "map", ...size }),
      make("span", { class: "edge", "aria-hidden": "true" }));
    const range = make("input", { type: "range", min: 0, max: 100, value: 100, "aria-label": `From scan to heat map, ${row[ID].slice(0, 12)}` });
    range.addEventListener("input", () => {
      stack.style.setProperty("--cut", `${range.value}%`);
      stack.classList.toggle("whole", range.value === "0" || range.value === "100");
      range.setAttribute("aria-valuetext", `${range.value} % of the heat map`);
    });
    return [stack, range, make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, "scan"), make("span", {}, "map"))];
  }

  function card(picture) {
    const row = rowOf.get(picture.exam_id);
    const open = make("button", { type: "button", class: "link", "aria-label": `Show ${row[ID]} larger`, onclick: () => view(row) }, row[ID].slice(0, 12));
    const words = make("span", {}, make("b", {}, score(row[SCORE])), ` ${predicted(row)}`, known(row) ? `, known: ${known(row)}` : "");
    return make("figure", { class: "picture" }, ...slider(picture, row),
      make("figcaption", {}, words, open, make("span", {}, ...row[MAPS].map((name) => tag(name, "warn")), ...row[FLAGS].map((name) => tag(name)))));
  }

  let sheet = 0;
  function drawCards() {
    byId("cards").replaceChildren(...sheetAt(sheet).map(card));
    paginate(byId("gallery-pages"), sheet, Math.ceil(pictures / CARDS), (next) => { sheet = next; drawCards(); });
  }

  function view(row) {
    const picture = pictureOf(row);
    const facts = [
      ["examination", row[ID]], [data.score, score(row[SCORE])], ["predicted", predicted(row)], ["known", known(row)],
      ["camera", row[CAMERA]], ["views named by", row[EVIDENCE]],
      ["kilocounts", `${counts(row[COUNTS_A])} anterior, ${counts(row[COUNTS_P])} posterior`],
      ...warningsOf(row).map((name) => [name, data.words[name] ?? ""]),
    ].filter(([, value]) => value);
    byId("viewer-title").textContent = `${data.score[0].toUpperCase()}${data.score.slice(1)} ${score(row[SCORE])}: ${predicted(row)}`;
    byId("viewer-body").replaceChildren(
      make("div", {}, ...slider(picture, row)),
      make("div", {}, make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
        make("p", {}, make("a", { href: row[LINK], target: "_blank", rel: "noopener" }, "Full image")),
        make("p", { class: "lead" }, "Research use only, not for clinical use.")));
    byId("viewer").showModal();
  }
  byId("close").addEventListener("click", () => byId("viewer").close());
  byId("viewer").addEventListener("click", (event) => { if (event.target === byId("viewer")) byId("viewer").close(); });

  // charts: called by the bundle when it has loaded

  globalThis.bsbatchCharts = async () => {
    const specs = JSON.parse(byId("charts").textContent);
    const config = { background: null, view: { stroke: null }, font: getComputedStyle(document.body).fontFamily, axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 }, legend: { labelFontSize: 12, offset: 6 } };
    await Promise.all([...document.querySelectorAll(".chart")].map((place) =>
      bsbatchEmbed(place, specs[place.dataset.chart], { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config })));
    document.documentElement.dataset.charts = "drawn";
    performance.mark("drawn");
  };

  refresh();
  if (byId("cards")) document.addEventListener("DOMContentLoaded", drawCards);
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
})();
