"""XMP as programs write it."""

from __future__ import annotations

from collections.abc import Sequence

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def packet(description: str) -> str:
    """What stands around properties in a file."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000">\n'
        f' <rdf:RDF xmlns:rdf="{RDF}">\n{description}\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
    )


def lightroom(
    description: str = "Grandma blows out the candles",
    title: str = "Birthday",
    keywords: Sequence[str] = ("family", "Köln"),
    paths: Sequence[str] = ("Places|Germany|Köln",),
    rating: int = 4,
    regions: str = "",
) -> str:
    """A sidecar of Lightroom Classic: single values are attributes."""

    def items(texts: Sequence[str]) -> str:
        return "".join(f"     <rdf:li>{text}</rdf:li>\n" for text in texts)

    return packet(f"""  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
   xmp:Rating="{rating}"
   xmp:CreatorTool="Adobe Lightroom Classic 13.1 (Windows)"
   xmp:MetadataDate="2024-02-01T10:00:00+01:00"
   photoshop:DateCreated="2019-05-04T15:02:01"
   tiff:Orientation="8"
   exif:GPSLatitude="50,56.2833N"
   exif:GPSLongitude="6,57.54E"
   crs:Version="16.1"
   crs:HasSettings="True">
   <dc:title>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">{title}</rdf:li>
    </rdf:Alt>
   </dc:title>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">{description}</rdf:li>
    </rdf:Alt>
   </dc:description>
   <dc:subject>
    <rdf:Bag>
{items(keywords)}    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
{items(paths)}    </rdf:Bag>
   </lr:hierarchicalSubject>
{regions}
  </rdf:Description>""")


def lightroom_regions(size: tuple[int, int], *regions: tuple[str, float, float, float, float]) -> str:
    """(name, x, y, w, h) of faces: areas are elements with attributes inside a Description."""
    listed = "".join(
        f"""      <rdf:li>
       <rdf:Description
        mwg-rs:Rotation="0.00000"
        mwg-rs:Name="{name}"
        mwg-rs:Type="Face">
       <mwg-rs:Area
        stArea:h="{h}"
        stArea:w="{w}"
        stArea:x="{x}"
        stArea:y="{y}"/>
       </rdf:Description>
      </rdf:li>
"""
        for name, x, y, w, h in regions
    )
    return f"""   <mwg-rs:Regions
    rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions
     stDim:w="{size[0]}"
     stDim:h="{size[1]}"
     stDim:unit="pixel"/>
    <mwg-rs:RegionList>
     <rdf:Bag>
{listed}     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>"""


DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
   exif:DateTimeOriginal="2022:03:12 09:10:11.000"
   xmp:Rating="3"
   xmpMM:DerivedFrom="IMG_2.jpg"
   darktable:xmp_version="5"
   darktable:raw_params="0"
   darktable:auto_presets_applied="1"
   darktable:history_end="1"
   darktable:iop_order_version="4">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Mole</rdf:li></rdf:Alt></dc:title>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">the lighthouse on the pier</rdf:li>
    </rdf:Alt>
   </dc:description>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>darktable|format|jpg</rdf:li>
     <rdf:li>lighthouse</rdf:li>
     <rdf:li>sea</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>darktable|format|jpg</rdf:li>
     <rdf:li>things|building|lighthouse</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:num="0" darktable:operation="flip" darktable:enabled="1" darktable:modversion="2"
      darktable:params="ffffffff" darktable:blendop_version="14"/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


def digikam(
    name: str = "Anna Müller", x: float = 0.5, y: float = 0.5, w: float = 0.25, h: float = 0.5
) -> str:
    """A file of digiKam: a face in the form of the Metadata Working Group and once more in Microsoft's."""
    return f"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"
    xmlns:MP="http://ns.microsoft.com/photo/1.2/"
    xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
    xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
   digiKam:PickLabel="0"
   digiKam:ColorLabel="0"
   xmp:Rating="2">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>People/{name}</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <MP:RegionInfo rdf:parseType="Resource">
    <MPRI:Regions>
     <rdf:Bag>
      <rdf:li
       MPReg:PersonDisplayName="{name}"
       MPReg:Rectangle="{x - w / 2}, {y - h / 2}, {w}, {h}"/>
     </rdf:Bag>
    </MPRI:Regions>
   </MP:RegionInfo>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:RegionList>
     <rdf:Bag>
      <rdf:li>
       <rdf:Description
        mwg-rs:Name="{name}"
        mwg-rs:Type="Face">
       <mwg-rs:Area
        stArea:x="{x}"
        stArea:y="{y}"
        stArea:w="{w}"
        stArea:h="{h}"
        stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def resource(name: str | None, kind: str, area: str, size: tuple[int, int] | None = None) -> str:
    """A region as Picasa and Apple's cameras write it: all fields are elements."""
    called = f"<mwg-rs:Name>{name}</mwg-rs:Name>" if name else ""
    drawn_on = (
        f"""<mwg-rs:AppliedToDimensions rdf:parseType="Resource">
      <stDim:w>{size[0]}</stDim:w><stDim:h>{size[1]}</stDim:h><stDim:unit>pixel</stDim:unit>
     </mwg-rs:AppliedToDimensions>"""
        if size
        else ""
    )
    return packet(f"""  <rdf:Description rdf:about=""
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:apple-fi="http://ns.apple.com/faceinfo/1.0/"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">
   <mwg-rs:Regions rdf:parseType="Resource">
     {drawn_on}
    <mwg-rs:RegionList>
     <rdf:Seq>
      <rdf:li rdf:parseType="Resource">
       <mwg-rs:Extensions rdf:parseType="Resource">
        <apple-fi:ConfidenceLevel>366</apple-fi:ConfidenceLevel>
        <apple-fi:FaceID>1</apple-fi:FaceID>
       </mwg-rs:Extensions>
       <mwg-rs:Area rdf:parseType="Resource">{area}</mwg-rs:Area>
       {called}<mwg-rs:Type>{kind}</mwg-rs:Type>
      </rdf:li>
     </rdf:Seq>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>""")


def area(x: float, y: float, w: float, h: float) -> str:
    values = {"y": y, "w": w, "x": x, "h": h, "unit": "normalized"}
    return "".join(f"<stArea:{name}>{value}</stArea:{name}>" for name, value in values.items())
