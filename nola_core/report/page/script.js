// The table of classes: a search by name, and a click on a column sorts by it. Without this script it is a plain table.
(function () {
  var table = document.getElementById("class-table");
  if (!table) return;
  var body = table.tBodies[0];
  var rows = Array.prototype.slice.call(body.rows);
  var box = document.getElementById("class-search");
  var found = document.getElementById("class-found");
  box.parentNode.hidden = false;
  box.addEventListener("input", function () {
    var wanted = box.value.trim().toLowerCase();
    var count = 0;
    rows.forEach(function (row) {
      row.hidden = row.cells[0].textContent.toLowerCase().indexOf(wanted) < 0;
      if (!row.hidden) count += 1;
    });
    found.textContent = wanted ? count.toLocaleString("en") + " found" : "";
  });
  Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    while (head.firstChild) button.appendChild(head.firstChild);
    head.appendChild(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "none" || !head.hasAttribute("aria-sort") ? column > 0 : head.getAttribute("aria-sort") === "ascending";
      Array.prototype.forEach.call(table.tHead.rows[0].cells, function (one) { one.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort(function (a, b) {
        var first = a.cells[column], second = b.cells[column];
        var x = first.getAttribute("data-value"), y = second.getAttribute("data-value");
        var order = x === null ? first.textContent.localeCompare(second.textContent) : (x === "") - (y === "") ? ((x === "") - (y === "")) * (down ? -1 : 1) : x - y;
        return down ? -order : order;
      });
      rows.forEach(function (row) { body.appendChild(row); });
    });
  });
})();
