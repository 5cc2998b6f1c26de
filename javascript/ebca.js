// Help at the prompt box: word chips, a live check of directives, and only as many rows of edits as are in use.
(function () {
    "use strict";

    const EDITS = 8;
    const PAUSE = 400;

    function element(id) {
        const root = typeof gradioApp === "function" ? gradioApp() : document;
        return root.querySelector("#" + id);
    }

    async function ask(question, body) {
        const answer = await fetch("ebca/" + question, {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify(body),
        });
        return answer.ok ? answer.json() : null;
    }

    function put(textarea, text) {
        textarea.value = text;
        if (typeof updateInput === "function") {
            updateInput(textarea);
        } else {
            textarea.dispatchEvent(new Event("input", {bubbles: true}));
        }
    }

    function made(tag, className, text) {
        const node = document.createElement(tag);
        node.className = className;
        node.textContent = text;
        return node;
    }

    function showFault(panel, textarea, error) {
        const text = textarea.value;
        const line = made("div", "ebca-fault", "");
        line.append(
            made("span", "", text.slice(Math.max(0, error.start - 20), error.start)),
            made("mark", "", text.slice(error.start, error.end)),
            made("p", "", error.message)
        );
        line.addEventListener("click", () => {
            textarea.focus();
            textarea.setSelectionRange(error.start, error.end);
        });
        panel.append(line);
    }

    function showChip(panel, textarea, word) {
        const label = (word.excite ? "★ " : "") + word.text + (word.boost === null ? "" : ` ×${word.boost}`);
        const plain = word.boost === null && !word.excite;
        const chip = made("button", plain ? "ebca-chip" : "ebca-chip ebca-boosted", label);
        chip.type = "button";
        chip.title = `${word.name}: a click boosts it, one more asks for it as a subject, one more takes both back`;
        chip.addEventListener("click", async () => {
            const answer = await ask("boost", {prompt: textarea.value, word: word.name});
            if (answer !== null) {
                put(textarea, answer.prompt);
            }
        });
        panel.append(chip);
    }

    async function refresh(panel, textarea, chips) {
        const prompt = textarea.value;
        const found = await ask("check", {prompt: prompt});
        if (found === null || textarea.value !== prompt) {
            return;
        }
        panel.replaceChildren();
        document.body.classList.toggle("ebca-with-xl", found.xl);
        found.errors.forEach((error) => showFault(panel, textarea, error));
        if (chips()) {
            found.words.forEach((word) => showChip(panel, textarea, word));
        }
    }

    // The host leaves the error of the last job where its text will be, until another job is done.
    function forgetFault(tab) {
        const log = element("html_log_" + tab);
        const error = log && log.querySelector(".error");
        if (error && error.textContent.trim().startsWith("EBCA:")) {
            error.remove();
        }
    }

    function watchJobs(tab) {
        const button = element(tab + "_generate");
        if (button && !button.dataset.ebca) {
            button.dataset.ebca = "watched";
            button.addEventListener("click", () => forgetFault(tab));
        }
    }

    function showHints(tab, hints) {
        Object.entries(hints).forEach(([name, text]) => {
            const field = element(`script_${tab}_ebca_${name}`);
            if (field) {
                field.title = text;
            }
        });
    }

    // Every field of every row has a name of its own for the API; in its row the number need not be said again.
    function shortenNames() {
        const root = typeof gradioApp === "function" ? gradioApp() : document;
        root.querySelectorAll(".ebca-more label > span, .ebca-more [data-testid=block-info]").forEach((name) => {
            name.textContent = name.textContent.replace(/^\D*\d+\s*/, "");
        });
    }

    async function addHints() {
        const answer = await fetch("ebca/hints");
        if (answer.ok) {
            const hints = await answer.json();
            ["txt2img", "img2img"].forEach((tab) => showHints(tab, hints));
        }
    }

    function chipsWanted() {
        return typeof opts === "undefined" || opts.ebca_word_chips !== false;
    }

    function watchPrompt(tab) {
        const box = element(tab + "_prompt");
        const textarea = box && box.querySelector("textarea");
        if (!textarea || textarea.dataset.ebca) {
            return;
        }
        textarea.dataset.ebca = "watched";
        const panel = made("div", "ebca-panel", "");
        panel.id = tab + "_ebca_panel";
        box.append(panel);
        let shown = null;
        let changed = 0;
        // The host also sets the box without an event: a slow look at its value sees that too.
        setInterval(() => {
            if (textarea.value !== shown) {
                if (shown !== null) {
                    forgetFault(tab);
                }
                shown = textarea.value;
                changed = Date.now();
            } else if (changed && Date.now() - changed >= PAUSE) {
                changed = 0;
                refresh(panel, textarea, chipsWanted);
            }
        }, PAUSE / 2);
    }

    function rowsOf(tab) {
        const prefix = `script_${tab}_ebca_edit_`;
        const rows = [];
        for (let n = 1; n <= EDITS; n++) {
            const group = element(prefix + n);
            const text = element(`${prefix}${n}_text`);
            if (group && text) {
                rows.push({group: group, text: text.querySelector("textarea, input")});
            }
        }
        return rows;
    }

    function arrange(tab) {
        const rows = rowsOf(tab);
        if (!rows.length) {
            return;
        }
        const used = rows.map((row) => row.text && row.text.value.trim() !== "");
        rows.forEach((row, index) => {
            const open = used[index] || row.group.dataset.ebca === "open" || index === 0;
            row.group.style.display = open ? "" : "none";
        });
    }

    function watchRows(tab) {
        const add = element(`script_${tab}_ebca_add_edit`);
        if (!add || add.dataset.ebca) {
            return;
        }
        add.dataset.ebca = "watched";
        add.addEventListener("click", () => {
            const hidden = rowsOf(tab).find((row) => row.group.style.display === "none");
            if (hidden) {
                hidden.group.dataset.ebca = "open";
            }
            arrange(tab);
        });
        for (let n = 1; n <= EDITS; n++) {
            const group = element(`script_${tab}_ebca_edit_${n}`);
            const more = element(`script_${tab}_ebca_edit_${n}_more`);
            if (group && more) {
                more.title = "its window, its own step sizes, and a button that removes it";
                more.addEventListener("click", () => group.classList.toggle("ebca-opened"));
            }
            const remove = element(`script_${tab}_ebca_edit_${n}_remove`);
            if (remove) {
                remove.addEventListener("click", () => {
                    delete element(`script_${tab}_ebca_edit_${n}`).dataset.ebca;
                });
            }
        }
        setInterval(() => arrange(tab), PAUSE);
    }

    function begin() {
        ["txt2img", "img2img"].forEach((tab) => {
            watchPrompt(tab);
            watchRows(tab);
            watchJobs(tab);
        });
        shortenNames();
        addHints();
    }

    if (typeof onUiLoaded === "function") {
        onUiLoaded(begin);
    } else {
        document.addEventListener("DOMContentLoaded", begin);
    }
})();
