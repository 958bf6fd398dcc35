// Light, dark, or as the system has it. A cookie, so that the server's page comes in its colours at once.
const NEXT = { "": "dark", dark: "light", light: "" }, YEAR = 31_536_000;

export function watchTheme() {
  const button = document.getElementById("theme");
  if (!button) return;
  const show = () => {
    const theme = document.documentElement.dataset.theme ?? "";
    button.textContent = { "": "◐", dark: "☾", light: "☀" }[theme];
    button.title = button.dataset[theme || "system"];
    button.setAttribute("aria-label", button.title);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement, theme = NEXT[root.dataset.theme ?? ""];
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    document.cookie = `theme=${theme}; path=/; max-age=${theme ? YEAR : 0}; samesite=lax`;
    show();
  });
  show();
}
