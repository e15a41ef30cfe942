// Hides the rows that don't fit the search and the chosen verdict; without it all rows are shown.
const search = document.getElementById("search");
const verdict = document.getElementById("verdict");
const shown = document.getElementById("shown");
const rows = [...document.querySelectorAll("tbody tr[data-verdict]")];
const texts = rows.map((row) => row.textContent.toLowerCase());
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  rows.forEach((row, at) => {
    const fits = (!verdict.value || row.dataset.verdict === verdict.value)
      && words.every((word) => texts[at].includes(word));
    row.hidden = !fits;
    count += fits;
  });
  shown.textContent = `${count} of ${rows.length} days`;
}
document.getElementById("filter").hidden = false;
search.addEventListener("input", filter);
verdict.addEventListener("change", filter);
filter();
