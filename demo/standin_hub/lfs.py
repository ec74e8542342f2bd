"""Requests about large files: where to upload them, the upload, and the check after it."""

from __future__ import annotations

import hmac
import shutil
from typing import Any

from standin_hub.pages import address
from standin_hub.server import PAGE, Handler, field, route
from standin_hub.store import Repo
from standin_hub.trees import SHA256, HubError


def signature(request: Handler, oid: str, size: int) -> str:
    return hmac.new(request.server.upload_key, f"{oid} {size}".encode(), "sha256").hexdigest()


@route("POST", PAGE + r"\.git/info/lfs/objects/batch", write=True)
def lfs_batch(request: Handler, repo: Repo) -> None:
    asked = request.json_body()
    if asked.get("operation") != "upload":
        raise HubError(400, "the stand-in Hub accepts LFS uploads only; downloads go through /resolve/")
    objects, room = [], shutil.disk_usage(request.server.hub.root).free
    for item in field(asked, "objects", list):
        oid, size = field(item, "oid", str), field(item, "size", int)
        if not SHA256.fullmatch(oid) or size < 0:
            raise HubError(400, f"{oid!r} is not a SHA-256, or {size} is not a size")
        answer: dict[str, Any] = {"oid": oid, "size": size}
        if request.server.hub.blobs.size(oid) == size:
            pass  # an answer without actions means that the file is already here
        elif (room := room - size) < 0:
            message = request.no_room(f"{size / 1e6:.0f} MB are to be uploaded")
            answer["error"] = {"code": 507, "message": message}
        else:
            # As for a storage bucket, the client sends no token to this address: the signature replaces it.
            upload = f"{request.base()}/lfs/{oid}?size={size}&key={signature(request, oid, size)}"
            verify = f"{request.base()}{address(repo)}.git/info/lfs/verify"
            answer["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
        objects.append(answer)
    request.answer_json({"transfer": "basic", "objects": objects})


@route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
def lfs_put(request: Handler, oid: str) -> None:
    size, key = request.query.get("size", ""), request.query.get("key", "")
    wanted = signature(request, oid, int(size)) if size.isdecimal() else ""
    if not wanted or not hmac.compare_digest(wanted.encode(), key.encode()):
        raise HubError(403, "this upload address is invalid or has expired: ask for a new one")
    request.server.hub.blobs.write(request.body, (oid, int(size)))
    request.answer_json({})


@route("POST", PAGE + r"\.git/info/lfs/verify", write=True)
def lfs_verify(request: Handler, repo: Repo) -> None:
    asked = request.json_body()
    oid, size = field(asked, "oid", str), field(asked, "size", int)
    if request.server.hub.blobs.size(oid) != size:
        raise HubError(404, f"the Hub has no LFS file {oid} of {size} bytes", "EntryNotFound")
    request.answer_json({})


@route("GET", r"/api/(?:models|datasets)/[^/]+/[^/]+/xet-(?:read|write)-token/.*")
def xet_token(request: Handler) -> None:
    raise HubError(404, "the stand-in Hub has no Xet: set HF_HUB_DISABLE_XET=1 for the client")
