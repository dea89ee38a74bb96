"use strict";
// The page works without this. It adds: a copy button on each sample, the address of this
// server in the first one, contents that are open where there is room, and a mark on the
// entry of what is being read.

for (const origin of document.querySelectorAll("[data-origin]")) {
  if (location.protocol.startsWith("http")) origin.textContent = location.origin;
}

// Browsers give the clipboard to secure pages only: no button that would do nothing.
if (navigator.clipboard) {
  for (const sample of document.querySelectorAll(".sample")) {
    const button = document.createElement("button");
    const say = (text) => (button.textContent = text);
    button.type = "button";
    button.setAttribute("aria-live", "polite");
    say("Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(sample.querySelector("code").textContent);
        say("Copied");
      } catch {
        say("Not allowed");
      }
      setTimeout(say, 2000, "Copy");
    });
    sample.append(button);
  }
}

const menu = document.querySelector(".menu");
const wide = matchMedia("(min-width: 64rem)");
const fit = () => (menu.open = wide.matches);
wide.addEventListener("change", fit);
fit();

const entries = new Map();
for (const link of menu.querySelectorAll("a")) {
  entries.set(link.hash.slice(1), link);
  link.addEventListener("click", () => wide.matches || (menu.open = false));
}
let current;
const seen = new IntersectionObserver(
  (changes) => {
    for (const { isIntersecting, target } of changes) {
      if (!isIntersecting) continue;
      const link = entries.get(target.id);
      current?.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      if (wide.matches && menu.open) link.scrollIntoView({ block: "nearest" });
      current = link;
    }
  },
  { rootMargin: "-10% 0px -80% 0px" },
);
for (const id of entries.keys()) seen.observe(document.getElementById(id));
