// Hides the rows that don't fit the search and the chosen verdict; without it all rows are shown.
const search = document.getElementById("search");
const verdict = document.getElementById("verdict");
const shown = document.getElementById("shown");
const words = document.getElementById("filter").dataset.shown;
const rows = [...document.querySelectorAll("tbody tr[data-verdict]")];
const texts = rows.map((row) => row.textContent.toLowerCase());
function filter() {
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  rows.forEach((row, at) => {
    const fits = (!verdict.value || row.dataset.verdict === verdict.value)
      && wanted.every((word) => texts[at].includes(word));
    row.hidden = !fits;
    count += fits;
  });
  shown.textContent = words.replace("{shown}", count).replace("{days}", rows.length);
}
document.getElementById("filter").hidden = false;
search.addEventListener("input", filter);
verdict.addEventListener("change", filter);
filter();
