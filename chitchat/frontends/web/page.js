// The page's own script: what its buttons do without the server, and how they tell the server what was clicked.
// Buttons and forms carry `data-action`; see html.py. `pageLanguage` stands before this script.

const page = (() => {
  const byId = (id) => document.getElementById(id);

  const isDark = () => document.body.classList.contains("dark");

  const toggleTheme = () => {
    localStorage.setItem("chitchat-theme", isDark() ? "light" : "dark");
    keepTheme();
  };

  const keepTheme = () => {
    const chosen = localStorage.getItem("chitchat-theme");
    if (chosen && isDark() !== (chosen === "dark")) document.body.classList.toggle("dark");
  };

  const keepLanguage = () => {
    if (document.documentElement.lang !== pageLanguage) document.documentElement.lang = pageLanguage;
  };

  const closePanels = () => byId("desk").classList.remove("shows-side", "shows-drawer");

  const hideMenus = () => document.querySelectorAll(".sessions .menu:not([hidden])").forEach((menu) => (menu.hidden = true));

  const copy = async (button) => {
    const text = button.closest("li").querySelector(".bubble").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // only a page from this machine or over https may use the clipboard directly
      const box = document.body.appendChild(document.createElement("textarea"));
      box.value = text;
      box.select();
      document.execCommand("copy");
      box.remove();
      button.focus();
    }
    const label = button.title;
    button.title = button.dataset.done;
    button.classList.add("done");
    setTimeout(() => {
      button.title = label;
      button.classList.remove("done");
    }, 1500);
  };

  const open = (button) => {
    const form = byId(button.dataset.target);
    hideMenus();
    form.hidden = false;
    const field = form.querySelector("textarea, input");
    field.focus();
    field.select();
    form.scrollIntoView({ block: "nearest" });
  };

  const close = (form) => {
    form.hidden = true;
    form.reset();
  };

  // What happens in the browser; every other action is the server's.
  const local = {
    close: (button) => close(button.closest("form")),
    copy,
    menu: (button) => {
      const menu = byId(button.dataset.target);
      const shows = menu.hidden;
      hideMenus();
      menu.hidden = !shows;
    },
    open,
    theme: toggleTheme,
    side: () => byId("desk").classList.toggle("shows-side"),
    drawer: () => byId("desk").classList.toggle("shows-drawer"),
  };

  // A deletion takes two clicks.
  const isSure = (button) => {
    if (!button.dataset.sure || button.classList.contains("sure")) return true;
    const label = button.textContent;
    button.textContent = button.dataset.sure;
    button.classList.add("sure");
    const forget = () => {
      button.textContent = label;
      button.classList.remove("sure");
    };
    button.addEventListener("blur", forget, { once: true });
    return false;
  };

  // "submit" asks for a reply, or goes away from one under way: the page then no longer waits for it
  const isSubmit = (action) =>
    ["say", "retry", "edit"].includes(action) ||
    (["new", "switch"].includes(action) && document.querySelector("#log .thinking"));

  // Called once for each part of the page that Gradio shows; `trigger` hands an event to the server.
  const listen = (element, trigger) => {
    let last = "";
    const send = (data) => {
      const sent = JSON.stringify(data);
      // a double click is one click, and what is being answered has to be answered first
      if (sent === last || element.querySelector(".thinking")) return;
      last = sent;
      setTimeout(() => (last = ""), 600);
      trigger(isSubmit(data.action) ? "submit" : "click", data);
    };
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-action]");
      if (!button || button.disabled) return;
      const { action, ...data } = button.dataset;
      if (local[action]) local[action](button);
      else if (isSure(button)) {
        send({ action, ...data });
        if (["switch", "pick", "new"].includes(action)) closePanels();
        if (action === "show" && innerWidth < 1100) byId("desk").classList.add("shows-drawer");
      }
    });
    element.addEventListener("submit", (event) => {
      const form = event.target;
      if (!form.dataset.action) return; // goes to the server by itself
      event.preventDefault();
      const { action, ...data } = form.dataset;
      send({ action, ...data, ...Object.fromEntries(new FormData(form)) });
      if (form.classList.contains("edit") || form.classList.contains("rename")) form.hidden = true;
    });
    element.addEventListener("keydown", (event) => {
      const form = event.target.closest("form");
      if (!form || event.isComposing) return; // Enter and Escape then belong to the input method
      if (event.key === "Escape" && form.querySelector("[data-action=close]")) close(form);
      if (event.key === "Enter" && !event.shiftKey && event.target.matches("textarea")) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
  };

  // New messages come into sight, unless the reader has scrolled up. What scrolls is the block around Gradio's element.
  const follow = (element) => {
    const log = element.closest("#log");
    let isAtEnd = true;
    let shown = "";
    const toEnd = () => (log.scrollTop = log.scrollHeight);
    log.addEventListener("scroll", () => {
      isAtEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 60;
    });
    new ResizeObserver(() => isAtEnd && toEnd()).observe(log); // a window or a message box of another size
    new MutationObserver(() => {
      const last = element.querySelector(".log > li:last-child .bubble")?.textContent ?? "";
      if (isAtEnd || last !== shown) toEnd();
      shown = last;
    }).observe(element, { childList: true, subtree: true, characterData: true });
  };

  // Gradio runs this script late, and takes the system's theme and the browser's language at any time
  keepTheme();
  keepLanguage();
  new MutationObserver(keepTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  new MutationObserver(keepLanguage).observe(document.documentElement, { attributes: true, attributeFilter: ["lang"] });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      closePanels();
      hideMenus();
    }
  });
  addEventListener("click", (event) => {
    if (event.target.closest(".menu a") || !event.target.closest(".menu, [data-action=menu]")) hideMenus();
    if (event.target.matches("#desk")) closePanels();
  });

  return { listen, follow };
})();
