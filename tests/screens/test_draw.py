from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.screens.draw import to_svg

_SVG = "{http://www.w3.org/2000/svg}"


def test_a_screen_becomes_a_picture() -> None:
    """Its text is in it, colours go on over the end of a line, and it fetches nothing."""
    picture = to_svg("watch", "\x1b[32mup & <away>\nstill green\x1b[0m\n")
    texts = {
        "".join(text.itertext()).replace("\xa0", " "): text.get("class")
        for text in ET.fromstring(picture).iter(f"{_SVG}text")
    }
    assert texts["up & <away>"] == texts["still green"]
    assert "lasersell watch" in texts
    assert "url(http" not in picture
    assert "@import" not in picture
