// The page's own script: what its buttons do without the server, and how they tell the server what was clicked.
// Buttons and forms carry `data-action`; see html.py. `pageLanguage` and `pageWords` stand before this script.

const page = (() => {
  const byId = (id) => document.getElementById(id);

  const box = () => document.querySelector("#message textarea");

  // As if typed: Gradio hears of it by the event.
  const fill = (field, words) => {
    field.value = words;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

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

  // `takesFocus` is for who leaves a menu by a key: the button that opened it is where they were.
  const hideMenus = (takesFocus = false) => {
    for (const menu of document.querySelectorAll(".sessions .menu:not([hidden])")) {
      const opener = document.querySelector(`[data-target="${menu.id}"]`);
      if (takesFocus) opener.focus();
      opener.setAttribute("aria-expanded", "false");
      menu.hidden = true;
    }
  };

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

  // The words in each open form, by its id. Whatever the server shows anew hides the forms; they are opened again as they were,
  // until what they belong to is gone, as a message is that was put in other words.
  const drafts = new Map();

  const show = (form, words) => {
    form.hidden = false;
    form.querySelector("textarea, input").value = words;
    drafts.set(form.id, words);
  };

  const open = (button) => {
    const form = byId(button.dataset.target);
    hideMenus();
    const field = form.querySelector("textarea, input");
    if (form.hidden) show(form, field.defaultValue);
    field.focus();
    field.select();
    form.scrollIntoView({ block: "nearest" });
  };

  const close = (form) => {
    form.hidden = true;
    drafts.delete(form.id);
  };

  const reopen = () => {
    for (const [id, words] of drafts) {
      const form = byId(id);
      if (form?.hidden) show(form, words);
      // while a message is answered in other words its form is away, and comes back when that is stopped
      if (!form && !isThinking()) drafts.delete(id);
    }
  };

  const isThinking = () => document.querySelector("#log .thinking") !== null;

  // Where the focus goes after an action whose button is gone then; nowhere with a finger, or a keyboard would cover the talk.
  let next = null;

  const refocus = () => {
    if (!next || isThinking()) return;
    if (document.activeElement === document.body) document.querySelector(next)?.focus({ preventScroll: true });
    next = null;
  };

  const planFocus = (action) => {
    if (!matchMedia("(hover: hover)").matches) return;
    next = action === "retry" ? "#log .last [data-action=retry]" : "#message textarea";
    if (action === "new" || action === "undo") box().focus();
  };

  // What was sent and has not arrived. The box is emptied here, not by the server, which would wipe what is typed meanwhile.
  let unsent = "";

  const sent = (words) => {
    unsent = words;
    if (box().value.startsWith(words)) fill(box(), box().value.slice(words.length));
  };

  const keepDraft = () => {
    if (box().value) sessionStorage.setItem("chitchat-draft", box().value);
    else sessionStorage.removeItem("chitchat-draft");
  };

  // Gradio's own notices are in English whatever the page's language.
  const reword = (notice) => {
    if (notice.textContent.startsWith("Connection to the server was lost")) {
      notice.textContent = pageWords.lost;
      fill(box(), unsent + box().value);
      unsent = "";
    } else if (notice.textContent.startsWith("File(s) exceed")) notice.textContent = pageWords.large;
    else if (notice.textContent.trim() === "请先登录") {
      const link = Object.assign(document.createElement("a"), { href: location.pathname, textContent: pageWords.login });
      notice.replaceChildren(link);
    }
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
      button.setAttribute("aria-expanded", String(shows));
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
    (["new", "switch"].includes(action) && isThinking());

  // Called once for each part of the page that Gradio shows; `trigger` hands an event to the server.
  const listen = (element, trigger) => {
    let last = "";
    const send = (data) => {
      const sent = JSON.stringify(data);
      // a double click is one click, and what is being answered has to be answered first
      if (sent === last || element.querySelector(".thinking")) return;
      last = sent;
      setTimeout(() => (last = ""), 600);
      planFocus(data.action);
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
      if (!form.dataset.action) return fill(box(), ""); // the logout: what was not sent is nobody else's
      event.preventDefault();
      const { action, ...data } = form.dataset;
      send({ action, ...data, ...Object.fromEntries(new FormData(form)) });
      if (form.classList.contains("rename")) close(form);
    });
    element.addEventListener("input", (event) => {
      const form = event.target.closest("form[id]");
      if (form) drafts.set(form.id, event.target.value);
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
    let isWaiting = false;
    new MutationObserver(() => {
      reopen();
      refocus();
      if (isThinking()) unsent = "";
      const waits = element.querySelector("[data-waits]") !== null;
      if (waits && !isWaiting) trigger("submit", { action: "wait" });
      isWaiting = waits;
    }).observe(element, { childList: true, subtree: true, characterData: true, attributeFilter: ["hidden", "class"] });
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

  // The knobs as the visitor left them, as long as the server's own settings are what they were then.
  let settings = [];

  const keepKnobs = (knobs) => localStorage.setItem("chitchat-knobs", JSON.stringify({ settings, knobs }));

  // At the start of each load of the page, with what the server has for the knobs.
  const arrive = (search, ...knobs) => {
    settings = knobs;
    if (!box().value) fill(box(), sessionStorage.getItem("chitchat-draft") ?? "");
    const kept = JSON.parse(localStorage.getItem("chitchat-knobs"));
    return [search, ...(String(kept?.settings) === String(knobs) ? kept.knobs : knobs)];
  };

  // Gradio runs this script late, and takes the system's theme and the browser's language at any time
  keepTheme();
  keepLanguage();
  new MutationObserver(keepTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  new MutationObserver(keepLanguage).observe(document.documentElement, { attributes: true, attributeFilter: ["lang"] });
  new MutationObserver(() => document.querySelectorAll("[data-testid=toast-text]").forEach(reword)).observe(document.body, {
    childList: true,
    subtree: true,
  });
  addEventListener("pagehide", keepDraft);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      closePanels();
      hideMenus(true);
    }
  });
  addEventListener("click", (event) => {
    if (event.target.closest(".menu a") || !event.target.closest(".menu, [data-action=menu]")) hideMenus();
    if (event.target.matches("#desk")) closePanels();
  });

  return { arrive, follow, keepKnobs, listen, sent };
})();
