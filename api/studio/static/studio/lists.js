// Each cell of a list gets its column's heading, which stands above it where rows are stacked (narrow screens; see admin.css).
import { all } from "./dom.js";

for (const list of all("body:not(.model-job) #result_list")) {
  const headings = [...list.tHead.rows[0].cells].map((cell) => cell.querySelector(".text")?.innerText.trim() ?? "");
  for (const cell of all("tbody :is(th, td)", list)) if (headings[cell.cellIndex]) cell.dataset.label = headings[cell.cellIndex];
  list.classList.add("labelled");
}
