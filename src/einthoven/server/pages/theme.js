// Loaded before anything is drawn, so that a page that was set to dark does not begin light.
const kept = localStorage.getItem("einthoven-theme");
if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
