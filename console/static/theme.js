/* Runs before the first paint, so that a chosen theme does not flash in late. No module: those
   run after the page is parsed. */
(() => {
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;
  const stored = localStorage.getItem("troupe.theme");
  root.dataset.theme = THEMES.includes(stored) ? stored : "system";

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const words = document.getElementById("theme-words");
    const show = () => {
      words.textContent = `Theme: ${root.dataset.theme}`;
    };
    button.addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
      root.dataset.theme = next;
      localStorage.setItem("troupe.theme", next);
      show();
    });
    show();
  });
})();
