"""ComfyUI-ViTMatte: registers the nodes with ComfyUI."""

from comfy_api.latest import ComfyExtension, io

# Imported here and not in get_node_list, where ComfyUI would report an error without its traceback.
from .nodes import folders
from .nodes.cutout import ViTMatteForeground, ViTMatteReplaceBackground
from .nodes.example import ViTMatteExample, ViTMatteExampleVideo
from .nodes.loader import ViTMatteModelLoader
from .nodes.matting import ViTMatteMatting
from .nodes.motion import ViTMatteSteady
from .nodes.trimap import ViTMatteTrimap, ViTMatteTrimapPreview
from .nodes.video import ViTMatteVideo

WEB_DIRECTORY = "./web"  # help pages; translations are in locales/


class ViTMatteExtension(ComfyExtension):
    """The pack, as ComfyUI's V3 interface sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        folders.register()
        return [ViTMatteModelLoader, ViTMatteTrimap, ViTMatteTrimapPreview, ViTMatteMatting, ViTMatteForeground,
                ViTMatteReplaceBackground, ViTMatteExample, ViTMatteVideo, ViTMatteSteady,
                ViTMatteExampleVideo]


async def comfy_entrypoint() -> ViTMatteExtension:
    """Called by ComfyUI."""
    return ViTMatteExtension()
