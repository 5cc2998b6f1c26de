"""The WebUI's door: it registers what lies in lib_ebca.webui."""

from modules import scripts

# The extension's folder is on the path while this file runs, and only then.
from lib_ebca.webui import script


class EbcaScript(script.EbcaScript, scripts.Script):
    """Energy-based cross-attention in txt2img and img2img."""


script.register()
