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
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
"""Those that are read, by the prefix that this module calls them by; a file may call them otherwise."""
LISTS = ("Alt", "Bag", "Seq")


class Structure:
    """A value that has fields: they may be attributes or elements, and lie in a Description of their own."""

    def __init__(self, *elements: Element) -> None:
        self._bodies = [body for each in elements for body in (each, *each.iterfind(DESCRIPTION))]

    def texts(self, name: str) -> Iterator[str]:
        """Yields the texts of a field, such as "dc:subject": all of a list, in all languages."""
        tag = _tag(name)
        for body in self._bodies:
            if tag in body.attrib:
                yield body.attrib[tag]
            for element in body.iterfind(tag):
                yield from _leaves(element)

    def text(self, name: str) -> str | None:
        return next(self.texts(name), None)

    def structures(self, name: str) -> Iterator[Structure]:
        """Yields the structures of a field: all of a list."""
        for body in self._bodies:
            for element in body.iterfind(_tag(name)):
                entries = _entries(element)
                yield from map(Structure, entries or [element])


class Xmp(Structure):
    """The properties of a photo. What cannot be parsed has none, and a `fault`."""

    def __init__(self, content: bytes) -> None:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import fromstring

        self.fault: str | None = None
        descriptions: list[Element] = []
        try:
            root = fromstring(content.strip(b"\0 \n\r\t\xef\xbb\xbf"))
        except DefusedXmlException:
            self.fault = "it declares entities, which no metadata need"
        except (ParseError, ValueError, LookupError) as error:
            self.fault = str(error)
        else:
            descriptions = [each for rdf in root.iter(f"{RDF}RDF") for each in rdf if each.tag == DESCRIPTION]
        super().__init__(*descriptions)


def _tag(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def _entries(element: Element) -> list[Element]:
    return [entry for form in LISTS for entry in element.iterfind(f"{RDF}{form}/{RDF}li")]


def _leaves(element: Element) -> Iterator[str]:
    for each in _entries(element) or [element]:
        if each.text and len(each) == 0:
            yield each.text
