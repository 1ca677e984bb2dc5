"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const [ID, SCORE, POSITIVE, KNOWN, REASON, CAMERA, EVIDENCE, FLAGS, MAPS, COUNTS_A, COUNTS_P, LINK, PICTURE, ACCESSION, DATE] = Array(15).keys();
  const examinations = data.examinations;
  const pictured = examinations.filter((row) => row[PICTURE] !== null);
  const PER_PAGE = 50, CARDS = data.sheet;

  /** Create an element; children are text or elements, never markup. */
  const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const draw = (name, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  function fill(element, attributes, children) {
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
  const isWrong = (row) => row[KNOWN] !== null && !row[REASON] && row[KNOWN] !== row[POSITIVE];
  const chip = (words) => make("span", { class: words === "metastasis" ? "chip high" : "chip" }, words);
  const warningsOf = (row) => [...row[FLAGS], ...row[MAPS]];
  /** Three decimals; no score is shown as certain. */
  const score = (value) => (value === null ? "" : value >= 0.9995 ? ">0.999" : value < 0.0005 ? "<0.001" : value.toFixed(3));
  const counts = (value) => (value === null ? "" : value.toLocaleString("en", { maximumFractionDigits: 0 }));

  /** Copy tab-separated lines; works in a page from a file, where the clipboard's own interface may not. */
  function copy(rows, button) {
    const field = make("textarea", { readonly: "" });
    field.value = rows.map((row) => [row[ID], ...(data.identified ? [row[ACCESSION], row[DATE]] : [])].join("\t")).join("\n");
    button.after(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    button.focus();
    button.textContent = done ? `Copied ${rows.length.toLocaleString("en")}` : "Copying is not allowed here";
  }

  function tag(name, kind = "") {
    return make("span", { class: `tag ${kind}`, title: data.words[name] ?? "" }, ...name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]));
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
    ...[{ name: "accession", value: (row) => row[ACCESSION] }, { name: "date", value: (row) => row[DATE] }].filter(({ value }) => examinations.some(value)),
    { name: data.score, value: (row) => row[SCORE], cell: scoreCell, number: true },
    { name: "predicted", value: predicted, cell: (row) => [row[REASON] ? tag(row[REASON], "fail") : chip(predicted(row))] },
    ...(data.labelled ? [{ name: "known", value: known, cell: (row) => (known(row) ? [chip(known(row)), isWrong(row) ? tag("wrong", "fail") : ""] : []) }] : []),
    { name: "image", value: (row) => (row[PICTURE] !== null ? 2 : row[LINK] ? 1 : 0), cell: mapCell },
    { name: "warnings", value: (row) => warningsOf(row).length, cell: (row) => warningsOf(row).map((name) => tag(name, "warn")) },
    { name: "camera", value: (row) => row[CAMERA] },
    { name: "kcounts", value: (row) => row[COUNTS_A], cell: (row) => (row[COUNTS_A] === null ? [] : [`${counts(row[COUNTS_A])} / ${counts(row[COUNTS_P])}`]), number: true },
  ];

  // the table: filtered, sorted, one page of it in the document

  let sorting = { column: COLUMNS.find(({ name }) => name === data.score), descending: true };
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
      const text = [row[ID], row[ACCESSION], row[DATE], row[CAMERA], row[EVIDENCE], row[REASON] ?? "", ...warningsOf(row)].join(" ").toLowerCase();
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
      make("td", { class: column.number ? "number" : null, "data-name": column.name }, ...(column.cell ? column.cell(row) : [column.value(row)]))))));
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
      sorting = { column, descending: sorting.column === column ? !sorting.descending : Boolean(column.number) || column.name === "image" || column.name === "warnings" };
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
    const identity = data.identified ? [["accession_number", ACCESSION], ["study_date", DATE]] : [];
    const head = ["exam_id", ...identity.map(([name]) => name), "p_metastasis", "predicted", "known", "reason", "camera", "view_evidence", "warnings"];
    const lines = shown.map((row) => [row[ID], ...identity.map(([, place]) => row[place]), row[SCORE], row[REASON] ? "" : row[POSITIVE], row[KNOWN], row[REASON], row[CAMERA], row[EVIDENCE], warningsOf(row).join(" ")]);
    const text = [head, ...lines].map((line) => line.map(cell).join(",")).join("\n");
    const address = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
    make("a", { href: address, download: "examinations.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address));
  });

  byId("copy").addEventListener("click", () => copy(shown, byId("copy")));

  // scans, with the window and the contours that the controls choose

  const NAMES = [["ANT", "R", "L"], ["POST", "L", "R"]];

  function scan(picture, row) {
    const [width, height] = picture.size;
    const about = `${data.score} ${score(row[SCORE])}, ${predicted(row)}`;
    const names = NAMES.flatMap(([name, ...sides], view) => {
      const [left, right] = view === 0 ? [0, picture.split] : [width - picture.split, width];
      return [["start", left + 4, sides[0]], ["middle", (left + right) / 2, name], ["end", right - 4, sides[1]]].map(([anchor, x, words]) =>
        draw("text", { x, y: 20, "text-anchor": anchor, class: words.length === 1 ? "side" : "view" }, words));
    });
    return make("div", { class: "stack" },
      make("img", { src: picture.scan, alt: `Anterior and posterior view, ${about}`, width, height }),
      draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
        ...picture.contours.map((path, level) => draw("path", { d: path, class: `heat level${level}` })),
        draw("path", { d: picture.lesions, class: "lesions" }), ...names));
  }

  const look = { window: 0, heat: true, lesions: true };
  /** Show the look in all controls and images: black from the overlay's level, times a power of two, on. */
  function applyLook() {
    for (const gamma of document.querySelectorAll("#window-filter .gamma *")) gamma.setAttribute("amplitude", 4 / 2 ** look.window);
    for (const name of ["heat", "lesions"]) document.body.classList.toggle(`without-${name}`, !look[name]);
    for (const input of document.querySelectorAll("[data-look]")) {
      if (input.type === "checkbox") input.checked = look[input.dataset.look];
      else input.value = -look[input.dataset.look];
    }
  }
  document.body.addEventListener("input", ({ target }) => {
    if (target.dataset.look) {
      look[target.dataset.look] = target.type === "checkbox" ? target.checked : -target.value;
      applyLook();
    }
  });

  const label = (row) => (isWrong(row) ? tag(row[KNOWN] ? "false negative" : "false positive", "fail") : "");

  function card(row) {
    const open = (words, kind) => make("button", { type: "button", class: kind, "aria-label": `Show ${row[ID]} larger`, onclick: () => view(row) }, words);
    const words = make("span", {}, make("b", {}, score(row[SCORE])), " ", chip(predicted(row)), known(row) ? make("span", { class: "known" }, `known: ${known(row)}`) : "");
    return make("figure", { class: "picture" }, open(scan(pictureOf(row), row), "open"),
      make("figcaption", {}, words, make("span", {}, open(row[ID].slice(0, 12), "link"), data.identified ? make("span", { class: "date" }, ` ${row[ACCESSION]} ${row[DATE]}`) : ""),
        make("span", {}, label(row), ...warningsOf(row).map((name) => tag(name, "warn")))));
  }

  const COMPARED = [["fn", "False negatives"], ["tp", "True positives"], ["fp", "False positives"], ["tn", "True negatives"]];
  const BESIDE = 4;
  let sheet = 0;
  /** Wrong decisions beside right ones of the same label, or one list. */
  function drawCards() {
    const what = byId("what").value;
    const groups = what === "compared" ? COMPARED.map(([key, title]) => [title, pictured.filter(OUTCOMES[key])])
      : [["", pictured.filter(what === "warned" ? (row) => warningsOf(row).length : OUTCOMES[what] ?? (() => true))]];
    const size = groups.length > 1 ? BESIDE : CARDS;
    byId("cards").className = groups.length > 1 ? "compared" : "cards";
    byId("cards").replaceChildren(...groups.flatMap(([title, rows]) => {
      const cards = rows.slice(sheet * size, (sheet + 1) * size).map(card);
      return title ? [make("div", {}, make("h3", {}, `${title} (${rows.length})`), ...(rows.length ? cards : [make("p", { class: "empty" }, "None.")]))] : cards.length ? cards : [make("p", { class: "empty" }, "None has an image.")];
    }));
    const pages = Math.ceil(Math.max(...groups.map(([, rows]) => rows.length)) / size);
    paginate(byId("gallery-pages"), sheet, pages, (next) => { sheet = next; drawCards(); });
  }

  function view(row) {
    const facts = [
      ["examination", row[ID]], ["accession", row[ACCESSION]], ["date", row[DATE]], [data.score, score(row[SCORE])], ["predicted", predicted(row)], ["known", known(row)],
      ["camera", row[CAMERA]], ["views named by", row[EVIDENCE]],
      ["kilocounts", `${counts(row[COUNTS_A])} anterior, ${counts(row[COUNTS_P])} posterior`],
      ...warningsOf(row).map((name) => [name, data.words[name] ?? ""]),
    ].filter(([, value]) => value);
    byId("viewer-title").textContent = `${data.score[0].toUpperCase()}${data.score.slice(1)} ${score(row[SCORE])}: ${predicted(row)}`;
    byId("zoomed").replaceChildren(scan(pictureOf(row), row));
    zoom();
    const button = make("button", { type: "button", onclick: () => copy([row], button) }, data.identified ? "Copy id, accession and date" : "Copy id");
    byId("viewer-facts").replaceChildren(
      make("p", {}, button),
      make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      make("p", {}, row[LINK] ? make("a", { href: row[LINK], target: "_blank", rel: "noopener" }, "Full image") : ""),
      make("p", { class: "lead" }, "Research use only, not for clinical use."));
    byId("viewer").showModal();
  }
  const zoom = () => { byId("zoomed").firstChild.style.width = `${byId("zoom").value}%`; };
  byId("zoom").addEventListener("input", zoom);
  byId("close").addEventListener("click", () => byId("viewer").close());
  byId("viewer").addEventListener("click", (event) => { if (event.target === byId("viewer")) byId("viewer").close(); });

  refresh();
  applyLook();
  if (byId("cards")) {
    byId("what").addEventListener("change", () => { sheet = 0; drawCards(); });
    document.addEventListener("DOMContentLoaded", drawCards);
  }
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
})();
