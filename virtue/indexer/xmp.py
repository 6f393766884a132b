"""XMP: what programs write about a photo, as properties of namespaces (ISO 16684-1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DESCRIPTION = f"{RDF}Description"
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
"""Those that are read, by the prefix that this module calls them by; a file may call them otherwise."""


class Xmp:
    """The properties of a photo. What cannot be parsed has none."""

    def __init__(self, content: bytes) -> None:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import fromstring

        try:
            root = fromstring(content.strip(b"\0 \n\r\t\xef\xbb\xbf"))
        except (ParseError, DefusedXmlException, ValueError, LookupError):
            root = None
        self._descriptions: list[Element] = []
        if root is not None:
            self._descriptions = [
                each for rdf in root.iter(f"{RDF}RDF") for each in rdf if each.tag == DESCRIPTION
            ]

    def texts(self, name: str) -> Iterator[str]:
        """Yields the texts of a property, such as "dc:subject": all of a list, in all languages."""
        prefix, _, local = name.partition(":")
        tag = f"{{{NAMESPACES[prefix]}}}{local}"
        for description in self._descriptions:
            if tag in description.attrib:
                yield description.attrib[tag]
            for element in description.iterfind(tag):
                yield from _leaves(element)


def _leaves(element: Element) -> Iterator[str]:
    entries = [entry for form in ("Alt", "Bag", "Seq") for entry in element.iterfind(f"{RDF}{form}/{RDF}li")]
    for each in entries or [element]:
        if each.text and len(each) == 0:
            yield each.text
