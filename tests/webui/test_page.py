"""What stands on the page: the buttons' work, the answers to the page's questions, the settings."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from lib_ebca.webui.form import EDITS, FIELDS, ROWS, EditRow, Form
from tests.webui.host import ROOT


def rows(*edits: EditRow) -> list[Any]:
    form = Form(edits=(*edits, *(EditRow(),) * (EDITS - len(edits))))
    given = dict(zip(FIELDS, form.to_args(), strict=True))
    return [given[name] for name in ROWS]


def test_edits_into_the_prompt_and_back(host: Any) -> None:
    from lib_ebca.webui import transfer

    first = EditRow(text="a dog: big", strength=0.5, start=0.25, attn=0.001, gamma_start=0.5)
    off = EditRow(on=False, text="hat")
    prompt, *left = transfer.written("a cat", *rows(first, off))
    assert prompt == "a cat <edit:a dog: big:0.5:from=0.25:attn=0.001:gfrom=0.5>"
    assert left == rows(off)
    back, *held = transfer.read(f"{prompt} <bcu> <boost:cat:2>", *left)
    assert back == "a cat <bcu:0.01:0.02> <boost:cat:2>"
    assert held == rows(off, first)


def test_faults_of_the_buttons_are_shown(host: Any) -> None:
    import gradio

    from lib_ebca.webui import transfer

    # Gradio 4 shows the message as HTML: what begins like a tag would be gone.
    with pytest.raises(gradio.Error, match="< edit:dog>"):
        transfer.read("a cat <edit:dog>", *rows())
    with pytest.raises(gradio.Error, match="8 rows"):
        transfer.read("<edit:dog:0.1>" * 9, *rows())
    with pytest.raises(gradio.Error, match=r"0\.1"):
        transfer.written("a cat", *rows(EditRow(text="dog", strength=-0.95)))


def test_the_buttons_are_there_where_the_prompt_is(host: Any) -> None:
    script = type(host.tabs[0])()
    script.show(False)
    assert set(script.after) == {"txt2img_prompt"}
    script.after["txt2img_prompt"](host.scripts.component("txt2img_prompt"))
    for _ in range(3):
        components = script.ui(False)
        assert len(components) == len(FIELDS)
        assert len(script.infotext_fields) == 2 * len(FIELDS)
        assert len(script.paste_field_names) == len(FIELDS)
    assert script.title() == "EBCA"
    assert [component.elem_id for component in components[:2]] == [
        "script_txt2img_ebca_enabled",
        "script_txt2img_ebca_attn",
    ]


def test_the_preset_that_is_on_is_shown(host: Any) -> None:
    from lib_ebca.webui import presets

    assert presets.on(0.01, 0.02) == "SD 1 text-to-image"
    assert presets.on(0.01, 0.03) == presets.on(None, 0.02) == presets.OWN


def test_words_and_faults(host: Any) -> None:
    from modules import sd_models

    from lib_ebca.webui import check

    assert check.checked("a cat")["words"] == []
    sd_models.model_data.sd_model = host.shared.sd_model
    found = check.checked("a cat, [dog:cat:0.5] AND <lora:x:1> sofa <boost:cat#2:3>")
    assert [(word["name"], word["boost"]) for word in found["words"]] == [("cat", None), ("dog", None), ("sofa", None)]
    found = check.checked("cat dog cat <boost:cat#2:3>")
    assert [(word["name"], word["boost"]) for word in found["words"]] == [
        ("cat#1", None),
        ("dog", None),
        ("cat#2", 3.0),
    ]
    assert check.checked("a [cat:dog:1.5] <boost:dog:2>")["errors"] == []


def test_a_prompt_full_of_faults_is_answered_at_once(host: Any) -> None:
    from lib_ebca.webui import check

    started = time.process_time()
    assert len(check.checked("<edit:cat:1>" * 800 + "<bcu:x>" * 800)["errors"]) == 20
    assert time.process_time() - started < 2


def test_every_fault_is_told(host: Any) -> None:
    from modules import sd_models

    from lib_ebca.webui import check

    sd_models.model_data.sd_model = host.shared.sd_model
    faults = check.checked("a cat <edit:dog> <bcu:x> <edit:hat:0.5>, <boost:cat>")["errors"]
    assert [(fault["start"], fault["end"]) for fault in faults] == [(6, 16), (17, 24), (41, 52)]
    faults = check.checked("a cat <boost:shirt:2> <boost:crown:2> <excite:dog>")["errors"]
    assert [word for word in ("shirt", "crown", "dog") if any(word in fault["message"] for fault in faults)] == [
        "shirt",
        "crown",
        "dog",
    ]


def test_a_word_is_boosted_then_a_subject_and_again_neither(host: Any) -> None:
    from lib_ebca.webui import check

    once = check.boosted("a cat <edit:dog:0.5>", "cat#2")
    assert once == "a cat <edit:dog:0.5> <boost:cat#2:2.5>"
    host.shared.opts.data["ebca_chip_factor"] = 3.0
    twice = check.boosted(once, "cat#2")
    assert twice == "a cat <edit:dog:0.5> <excite:cat#2>"
    assert check.boosted(twice, "cat#2") == "a cat <edit:dog:0.5>"


def test_the_server_is_given_our_questions(host: Any) -> None:
    routes: dict[str, Any] = {}
    app = SimpleNamespace(add_api_route=lambda path, endpoint, methods: routes.update({path: endpoint}))
    for callback in host.callbacks["app_started"]:
        callback(None, app)
    assert set(routes) == {"/ebca/check", "/ebca/boost", "/ebca/hints", "/ebca/docs/{name}"}
    assert set(routes["/ebca/hints"]()) == {"preset", *FIELDS}
    assert routes["/ebca/docs/{name}"](name="webui").body == (ROOT / "docs" / "webui.md").read_bytes()
    assert routes["/ebca/docs/{name}"](name="../README").status_code == 404
    assert routes["/ebca/boost"](prompt="a cat", word="cat") == {"prompt": "a cat <boost:cat:2.5>"}


def test_every_id_that_the_page_script_asks_for_exists(host: Any) -> None:
    source = (ROOT / "javascript" / "ebca.js").read_text(encoding="utf-8")
    for name in ("ebca_edit_", "ebca_add_edit", "_text", "_remove", "_more", "ebca_panel", "ebca_word_chips"):
        assert name in source
    assert "const EDITS = 8;" in source


def test_the_settings_are_on_our_page(host: Any) -> None:
    labels = host.shared.opts.data_labels
    assert {name for name in labels if name.startswith("ebca_")} == {
        "ebca_directives_without_checkbox",
        "ebca_word_chips",
        "ebca_chip_factor",
        "ebca_head_vectors",
    }
    assert all(labels[name].section == ("ebca", "EBCA") for name in labels if name.startswith("ebca_"))
