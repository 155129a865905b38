// The panel about one image. Every text goes in as text, never as HTML.

export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export const percent = (value) => (value >= 0.9995 ? "100 %" : value < 0.0005 ? "0 %" : `${(100 * value).toFixed(1)} %`);

export function picture(row, size = "thumbnail") {
  const image = el("img", { alt: "", loading: size === "thumbnail" ? "lazy" : "eager", decoding: "async", src: `${size}/${row}` });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 64));
  return image;
}

export function tile(row, caption, colour, choose) {
  const text = el("span", { textContent: caption, dir: "auto" });
  if (colour) text.style.borderTopColor = colour;
  const button = el("button", { className: "tile", type: "button", title: caption }, picture(row), text);
  button.dataset.row = row;
  button.addEventListener("click", () => choose(row));
  return button;
}

const named = (name, className = "name") => el("span", { className, textContent: name, title: name, dir: "auto" });

export function fill(panel, found, about, state, choose, nameOf, correct) {
  const { classes, methods } = about, first = methods[0].name;
  const chosen = found.answers[state.method][0][0];
  const large = picture(found.row, "image");
  large.className = "large";
  large.alt = `The image ${found.id.slice(0, 200)}`;
  large.addEventListener("error", async () => {
    const text = el("p", { className: "minus", textContent: "This image cannot be shown. " });
    large.replaceWith(text);
    try { text.textContent += await (await fetch(`image/${found.row}`)).text(); } catch { /* the server has gone */ }
  });
  const facts = [found.split];
  if (found.group) facts.push(`group ${found.group} of images that fit no name`);
  if (found.score !== null) facts.push(`unknown score ${found.score.toFixed(2)}`);
  const parts = [large, el("p", { className: "id", textContent: found.id, dir: "auto" }), el("p", { className: "soft", textContent: facts.join(" · ") })];

  parts.push(correct, el("h2", { textContent: "Predictions" }));
  for (const { name, title } of methods) {
    const top = found.answers[name];
    const box = el("details", { open: name === state.method },
      el("summary", {}, named(title + (name === first ? " (final)" : "")), named(classes[top[0][0]], "answer"), el("span", { className: "number", textContent: percent(top[0][1]) })));
    box.classList.toggle("differs", top[0][0] !== chosen);
    for (const [id, probability] of top) {
      const fillOf = el("i");
      fillOf.style.width = `${Math.max(0.5, 100 * probability)}%`;
      box.append(el("div", { className: "bar" }, named(classes[id]), el("span", { className: "number", textContent: percent(probability) }), el("div", { className: "track" }, fillOf)));
    }
    parts.push(box);
  }

  const answer = classes[found.answers[first][0][0]], second = found.answers[first][1];
  for (const [key, title] of [["for", `Speaks for ${answer}`], ["against", `Speaks against ${answer}`], ["rival", second ? `Speaks for ${classes[second[0]]}, the second class` : ""]]) {
    if (!found[key].length) continue;
    parts.push(el("h2", { textContent: title.length > 160 ? title.slice(0, 160) + "…" : title, dir: "auto" }));
    for (const [text, value] of found[key]) {
      parts.push(el("blockquote", { title: "Cosine to the description, compared with the average image of the collection" },
        el("span", { className: `number ${value > 0 ? "plus" : "minus"}`, textContent: (value > 0 ? "+" : "−") + Math.abs(value).toFixed(3) }), el("span", { textContent: text, dir: "auto" })));
    }
  }

  if (found.similar.length) {
    parts.push(el("h2", { textContent: "Most similar images" }));
    parts.push(el("div", { className: "similar" }, ...found.similar.map(([row, cosine]) => tile(row, `${cosine.toFixed(2)} ${nameOf(row)}`, state.colourOf(row), choose))));
  }
  if (found.duplicates.length) {
    parts.push(el("h2", { textContent: "Near duplicates" }));
    const shown = found.duplicates.filter((one) => one.row >= 0);
    parts.push(el("div", { className: "similar" }, ...shown.map((one) => tile(one.row, one.exact ? "same file" : one.similarity.toFixed(3), null, choose))));
    for (const one of found.duplicates.filter((other) => other.row < 0)) {
      parts.push(el("p", { textContent: `${one.id.slice(0, 300)} (${one.exact ? "same file" : one.similarity.toFixed(3)}), not on this map`, dir: "auto" }));
    }
  }
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
}
