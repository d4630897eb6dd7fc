/* No module, so that it runs where modules do not: it sets the colours before anything is drawn, and says why the page stays empty. */
(function () {
  var root = document.documentElement;
  var mode = "auto";
  try {
    mode = localStorage.getItem("mode") || "auto";
  } catch (error) {
    // storage is switched off
  }
  if (mode !== "light" && mode !== "dark") mode = "auto";
  var dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.mode = mode;
  root.dataset.theme = mode === "auto" ? (dark ? "dark" : "light") : mode;

  /** @param {string} text */
  function say(text) {
    var place = document.getElementById("problem-text");
    var box = document.getElementById("problem");
    if (!place || !box || root.dataset.ready) return;
    place.textContent = text;
    box.hidden = false;
    root.dataset.ready = "no";
  }
  addEventListener("load", function () {
    if (location.protocol === "file:") {
      say(
        "This page was opened from a file, and browsers let such pages read nothing. Serve the folder instead: " +
          "run “pltutorial serve” in the folder of the site and open the address it prints.",
      );
    } else if (!("noModule" in HTMLScriptElement.prototype)) {
      say("This browser is too old for this page. Use Chrome 91, Firefox 114, Safari 16.4, or newer.");
    } else {
      setTimeout(function () {
        say("A part of this page could not be loaded. Check the network, then reload the page.");
      }, 10000);
    }
  });
})();
