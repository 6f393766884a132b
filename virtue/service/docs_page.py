"""The OpenAPI document as a page to read: no script, nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; background: #8881; padding: .5rem; }
h2 { margin-top: 2.5rem; } dt { font-weight: 600; } dd { margin: 0 0 .5rem 1rem; }
:root { color-scheme: light dark; }
"""
POLICY = "default-src 'none'; style-src '{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def docs_page(document: dict[str, Any]) -> HTMLResponse:
    """Renders an OpenAPI document."""
    parts = [
        f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>",
        f"<p>{escape(document['info'].get('summary', ''))} "
        '<a href="/openapi.json">The OpenAPI document</a>.</p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation))
    parts.append("<h1>Schemas</h1>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(_schema(name, schema))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>virtue</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>"
    )
    return HTMLResponse(page, headers={"content-security-policy": POLICY.format(hash=_hash(STYLE))})


def _hash(text: str) -> str:
    import base64
    import hashlib

    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = [f"<h2><code>{method.upper()} {escape(path)}</code></h2>"]
    text.append(f"<p>{escape(operation.get('description', ''))}</p>")
    parameters = operation.get("parameters", [])
    if parameters:
        text.append("<dl>")
        for each in parameters:
            about = each.get("description") or each["schema"].get("description", "")
            text.append(
                f"<dt><code>{escape(each['name'])}</code> ({each['in']})</dt><dd>{escape(about)}</dd>"
            )
        text.append("</dl>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        text.append(f"<p>Takes <code>{escape(kind)}</code>: {_name(content.get('schema', {}))}</p>")
    for status, response in operation.get("responses", {}).items():
        kinds = response.get("content", {})
        shown = ", ".join(
            f"<code>{escape(kind)}</code> {_name(content.get('schema', {}))}"
            for kind, content in kinds.items()
        )
        text.append(
            f"<p><code>{escape(str(status))}</code> {escape(response.get('description', ''))} {shown}</p>"
        )
    return "".join(text)


def _name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    several = schema.get("anyOf", [])
    return " or ".join(map(_name, several)) if several else escape(str(schema.get("type", "")))


def _schema(name: str, schema: dict[str, Any]) -> str:
    shown = escape(json.dumps(schema.get("properties", schema), indent=1))
    about = escape(schema.get("description", ""))
    return f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{about}</p><pre>{shown}</pre>'
