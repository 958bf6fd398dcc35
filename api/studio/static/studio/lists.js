// Each cell of a list gets its column's heading, which stands above it where rows are stacked (narrow screens; see admin.css).
"use strict";
for (const list of document.querySelectorAll("body:not(.model-job) #result_list")) {
  const headings = [...list.tHead.rows[0].cells].map((cell) => cell.querySelector(".text")?.innerText.trim() ?? "");
  for (const row of list.tBodies[0].rows) {
    [...row.cells].forEach((cell, place) => { if (headings[place]) cell.dataset.label = headings[place]; });
  }
  list.classList.add("labelled");
}
