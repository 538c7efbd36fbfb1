const form = document.getElementById("filter");
const cards = [...document.querySelectorAll(".card")];
const texts = cards.map(card => card.textContent.toLowerCase());
function show() {
  const words = form.words.value.toLowerCase(), kind = form.kind ? form.kind.value : "";
  let n = 0;
  cards.forEach((card, i) => {
    const kinds = card.dataset.kinds.split(" ");
    const fits = !kind || (kind === "*" ? kinds[0] !== "" : kinds.includes(kind));
    card.hidden = !(fits && texts[i].includes(words));
    n += !card.hidden;
  });
  document.getElementById("count").textContent = n + " of " + cards.length;
}
form.addEventListener("input", show);
form.addEventListener("submit", event => event.preventDefault());
show();
