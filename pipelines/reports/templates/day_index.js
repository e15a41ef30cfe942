/* Shows the rows that fit the search and the chosen verdict. The rows of `older` stay hidden until a
   search, a link to one of them or the button asks for them; without a script all rows are shown. */
const element = (id) => document.getElementById(id);
const search = element("search"), verdict = element("verdict"), older = element("older");
const shown = element("shown"), every = element("every"), words = element("filter").dataset.shown;
const rows = [...document.querySelectorAll("tbody tr[data-verdict]")];
const inOlder = older ? older.rows.length : 0;
let texts;
let isEvery = false;
function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const isSearch = wanted.length > 0 || verdict.value !== "";
  if (isSearch) texts ??= rows.map((row) => row.textContent.toLowerCase());
  let count = 0;
  rows.forEach((row, at) => {
    const fits = !isSearch || ((!verdict.value || row.dataset.verdict === verdict.value)
      && wanted.every((word) => texts[at].includes(word)));
    if (row.hidden === fits) row.hidden = !fits;
    count += fits;
  });
  const isOpen = isSearch || isEvery;
  if (older) older.hidden = !isOpen;
  every.hidden = isOpen || !inOlder;
  shown.textContent = words.replace("{shown}", isOpen ? count : count - inOlder)
    .replace("{days}", rows.length);
}
function find() {
  const target = location.hash ? element(decodeURIComponent(location.hash.slice(1))) : null;
  if (!target || !older?.contains(target)) return;
  isEvery = true;
  filter();
  target.scrollIntoView();
}
element("filter").hidden = false;
search.addEventListener("input", filter);
verdict.addEventListener("change", filter);
every.addEventListener("click", () => { isEvery = true; filter(); });
window.addEventListener("hashchange", find);
filter();
find();
