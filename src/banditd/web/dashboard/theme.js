// Before the first paint: the theme that was chosen here, else the system's. Only these two attributes are set.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("banditd-theme");
  } catch {
    // storage may be forbidden; then the system's theme holds
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
