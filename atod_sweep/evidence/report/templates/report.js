// Click a column's title to sort by it; again to turn the order round.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
    const column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
    const key = (row) => {
      const cell = row.cells[column];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const order = (a, b) => {
      const x = key(a), y = key(b);
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what has no number comes last, both ways
      const way = typeof x === "number" ? x - y : x.localeCompare(y);
      return down ? -way : way;
    };
    for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort(order));
  });
}
// A table that is wider than its box says so, until it has been scrolled to its end.
for (const box of document.querySelectorAll(".scroll")) {
  const hint = box.previousElementSibling;
  const look = () => { hint.hidden = box.scrollWidth - box.clientWidth - box.scrollLeft < 2; };
  box.addEventListener("scroll", look, { passive: true });
  addEventListener("resize", look);
  look();
}
