"""Animated glTF 2.0 in one binary file: what Blender, three.js and every other 3D program opens.

Objects are rigid nodes that move. Hands have a real skeleton: 16 bones, skinning weights, and a few morph targets that
carry MANO's pose blend shapes, so that the motion is the library's own to within a tenth of a millimetre and the bones
can be edited. Any other surface has one morph target per frame. glTF has y up: one node above all turns the world.

L frames, V vertices, J joints. Metres and seconds.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from hoi_lib.drawables import parted, vertex_normals
from hoi_lib.records import atomic
from hoi_lib.render import rgb, to_linear
from hoi_lib.scene import MeshTrack, Rig, Rigid, Scene

FLOAT, USHORT, UBYTE, UINT = 5126, 5123, 5121, 5125
COMPONENT = {"float32": FLOAT, "uint16": USHORT, "uint8": UBYTE, "uint32": UINT}
SHAPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
VERTEX_DATA, INDEX_DATA = 34962, 34963
CORRECTIVE_ERROR = 5e-5  # metres of blend shape that may be dropped


def save_glb(scene: Scene, path: str | Path) -> Path:
    """Write the scene as an animated ``.glb``, in one piece or not at all.

    One node per hand and per object part, at the scene's own frame rate; the caption and the contact frames stand in
    the scene's ``extras``. Raises :class:`hoi_lib.errors.OutputError` where it cannot be written.
    """
    path, data = Path(path), glb_bytes(scene)
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return path


def glb_bytes(scene: Scene) -> bytes:
    """The bytes of the file that :func:`save_glb` writes."""
    file = _File()
    root = file.node(name="world", rotation=[-np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
    file.json["scenes"][0]["nodes"].append(root)
    times = file.array((np.arange(scene.frames) / scene.fps).astype(np.float32), bounds=True)
    for track in scene.tracks:
        if isinstance(track.motion, Rigid):
            _rigid(file, track, times, root)
        elif isinstance(track.motion, Rig):
            _skinned(file, track, times, root)
        else:
            _morphed(file, track, times, root)
    contact = {name: np.flatnonzero(on).tolist() for name, on in scene.contact.items()}
    extras = {"caption": scene.caption, "fps": scene.fps, "contact_frames": contact}
    file.json["scenes"][0] |= {"name": scene.caption or "motion", "extras": extras}
    return file.bytes()


def _rigid(file: _File, track: MeshTrack, times: int, root: int) -> None:
    motion = track.motion
    node = file.node(root, name=track.words(), mesh=_mesh(file, track, motion.rest))
    file.animate(node, "translation", times, motion.transl)
    file.animate(node, "rotation", times, quaternions(motion.rotation))
    _hide(file, track, node, times)


def _skinned(file: _File, track: MeshTrack, times: int, root: int) -> None:
    rig = track.motion
    frame = file.node(root, name=f"{track.words()} skeleton")
    bones: list[int] = []
    for joint, parent in enumerate(rig.parents):
        offset = rig.joints[joint] - (rig.joints[parent] if parent >= 0 else 0)
        above = bones[parent] if parent >= 0 else frame
        name = f"{track.words()} bone {joint}"
        bones.append(file.node(above, name=name, translation=[float(x) for x in offset]))
        file.animate(bones[-1], "rotation", times, quaternions(rig.rotations[:, joint]))
    file.animate(bones[0], "translation", times, rig.joints[0] + rig.transl)
    bind = np.tile(np.eye(4, dtype=np.float32), (len(bones), 1, 1))
    bind[:, 3, :3] = -rig.joints  # column-major, as glTF stores matrices
    skin = file.add("skins", joints=bones, skeleton=bones[0], inverseBindMatrices=file.array(bind), name=track.words())
    base, targets, weights = correctives(rig)
    mesh = _mesh(file, track, rig.rest + base, targets, skinning=rig.weights)
    node = file.node(name=track.words(), mesh=mesh, skin=skin)
    file.json["scenes"][0]["nodes"].append(node)
    if len(targets):
        file.animate(node, "weights", times, weights)
    _hide(file, track, bones[0], times)


def _morphed(file: _File, track: MeshTrack, times: int, root: int) -> None:
    vertices = np.asarray(track.vertices, float)
    source, faces = parted(vertices[0], track.faces)
    normals = vertex_normals(vertices[:, source], faces)
    mesh = _mesh(file, track, vertices[0], vertices[1:] - vertices[0], normals=normals[1:] - normals[0])
    node = file.node(root, name=track.words(), mesh=mesh)
    if len(vertices) > 1:
        file.animate(node, "weights", times, np.eye(len(vertices))[:, 1:])
    _hide(file, track, node, times)


def _hide(file: _File, track: MeshTrack, node: int, times: int) -> None:
    """glTF cannot hide a node for a while: shrink it to nothing."""
    if track.visible is not None:
        scale = np.repeat(np.asarray(track.visible, float)[:, None], 3, 1)
        file.animate(node, "scale", times, scale, "STEP")


def _mesh(
    file: _File,
    track: MeshTrack,
    rest: np.ndarray,
    targets: np.ndarray = (),
    normals: np.ndarray | None = None,
    skinning: np.ndarray | None = None,
) -> int:
    """A mesh of ``rest`` (V, 3) with morph ``targets`` (n, V, 3) and ``skinning`` weights (V, J); returns its number.

    Sharp edges part the vertices first; target ``normals`` (n, W, 3) are for the parted ones.
    """
    source, faces = parted(rest, track.faces)
    vertices = np.asarray(rest, float)[source]
    attributes = {
        "POSITION": file.array(vertices.astype(np.float32), VERTEX_DATA, bounds=True),
        "NORMAL": file.array(vertex_normals(vertices, faces).astype(np.float32), VERTEX_DATA),
    }
    if skinning is not None:
        attributes |= _influences(file, skinning[source])
    index = faces.reshape(-1).astype(np.uint16 if len(source) < 65535 else np.uint32)
    color = [float(c) for c in to_linear(rgb(track.color))]
    pbr = {"baseColorFactor": [*color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    material = file.add("materials", name=track.words(), pbrMetallicRoughness=pbr, doubleSided=True)
    primitive = {"attributes": attributes, "indices": file.array(index, INDEX_DATA), "material": material}
    morphs = []
    for k, target in enumerate(targets):
        morphs.append({"POSITION": file.array(target[source].astype(np.float32), VERTEX_DATA, bounds=True)})
        if normals is not None:
            morphs[-1]["NORMAL"] = file.array(normals[k].astype(np.float32), VERTEX_DATA)
    if not morphs:
        return file.add("meshes", name=track.words(), primitives=[primitive])
    names = {"targetNames": [f"shape {k + 1}" for k in range(len(morphs))]}
    start = {"weights": [0.0] * len(morphs), "extras": names}
    return file.add("meshes", name=track.words(), primitives=[primitive | {"targets": morphs}], **start)


def _influences(file: _File, weights: np.ndarray) -> dict[str, int]:
    """The four strongest bones of each vertex and their shares, which sum to 1."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    share = np.take_along_axis(weights, order, 1).astype(np.float64)
    share = (share / share.sum(1, keepdims=True)).astype(np.float32)
    order = np.where(share > 0, order, 0).astype(np.uint8)
    return {"JOINTS_0": file.array(order, VERTEX_DATA), "WEIGHTS_0": file.array(share, VERTEX_DATA)}


def correctives(rig: Rig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose blend shapes of a motion as few morph targets: ``base`` (V, 3), ``targets`` (n, V, 3), ``weights`` (L, n).

    The offsets ``posedirs (R − I)`` of all frames are written as ``base + Σ weight · target`` by singular value
    decomposition, with the smallest n that is right to :data:`CORRECTIVE_ERROR` at every vertex and frame. Weights
    run from 0 to 1, for Blender cuts off all others.
    """
    bend = (np.asarray(rig.rotations, float)[:, 1:] - np.eye(3)).reshape(len(rig.rotations), -1)
    shapes = np.asarray(rig.correctives, float).reshape(-1, bend.shape[1])
    # the offsets bend @ shapes.T are never formed: their rank is at most that of the small factors
    basis, triangle = np.linalg.qr(shapes)
    left, size, right = np.linalg.svd(bend @ triangle.T, full_matrices=False)
    for n in range(len(size) + 1):
        missing = (left[:, n:] * size[n:]) @ right[n:] @ basis.T
        if np.abs(missing).max(initial=0) < CORRECTIVE_ERROR:
            break
    weights, targets = left[:, :n], (size[:n, None] * right[:n]) @ basis.T
    low, span = weights.min(0), np.maximum(np.ptp(weights, axis=0), 1e-12)
    base = (low @ targets).reshape(-1, 3)
    return base, (targets * span[:, None]).reshape(n, -1, 3), (weights - low) / span


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions (L, 4) as x, y, z, w of matrices (L, 3, 3), each on the same side as the one before."""
    import torch

    from hoi_lib.rotations import matrix_to_quaternion

    found = matrix_to_quaternion(torch.as_tensor(np.asarray(rotation, float))).numpy()[:, [1, 2, 3, 0]]
    turn = np.where((found[1:] * found[:-1]).sum(1) < 0, -1.0, 1.0)
    return found * np.cumprod(np.r_[1.0, turn])[:, None]


class _File:
    """A glTF document and its binary chunk under construction."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "hoi_lib"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "animations": [{"name": "motion", "channels": [], "samplers": []}],
        }
        self.data = bytearray()

    def add(self, kind: str, **entry: Any) -> int:
        """Append an entry to one of the document's lists and return its number."""
        entries = self.json.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def node(self, parent: int | None = None, **entry: Any) -> int:
        """Append a node, below ``parent`` if given, and return its number."""
        number = self.add("nodes", **entry)
        if parent is not None:
            self.json["nodes"][parent].setdefault("children", []).append(number)
        return number

    def array(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Append an array, rows first, as a view and an accessor of its own; returns the accessor's number."""
        values = np.ascontiguousarray(values)
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.data += values.tobytes()
        entry = {
            "bufferView": self.add("bufferViews", **view, **({"target": target} if target else {})),
            "componentType": COMPONENT[values.dtype.name],
            "count": len(values),
            "type": SHAPES[values.shape[1:]],
        }
        if bounds:
            rows = values.reshape(len(values), -1)
            entry |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        return self.add("accessors", **entry)

    def animate(self, node: int, what: str, times: int, values: np.ndarray, how: str = "LINEAR") -> None:
        """Let ``what`` of a node follow ``values`` (L, n) at ``times``; morph weights are laid end to end."""
        values = np.asarray(values, np.float32)
        output = self.array(values.reshape(-1) if what == "weights" else values)
        motion = self.json["animations"][0]
        motion["samplers"].append({"input": times, "output": output, "interpolation": how})
        target = {"node": node, "path": what}
        motion["channels"].append({"sampler": len(motion["samplers"]) - 1, "target": target})

    def bytes(self) -> bytes:
        """The finished file: header, JSON chunk, binary chunk, each padded to four bytes."""
        self.data += b"\0" * (-len(self.data) % 4)
        self.json["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(self.json, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self.data)
        head = struct.pack("<III", 0x46546C67, 2, total) + struct.pack("<II", len(text), 0x4E4F534A)
        return head + text + struct.pack("<II", len(self.data), 0x004E4942) + bytes(self.data)
