"""As much of ComfyUI's V3 node interface as the pack's nodes use."""

from dataclasses import dataclass, field
from types import SimpleNamespace


class ComfyExtension:
    pass


class _Port:
    advanced = extra_dict = None

    def __init__(self, id=None, display_name=None, optional=False, tooltip=None, **rest):
        self.id, self.display_name, self.optional, self.tooltip = id, display_name, optional, tooltip
        self.__dict__.update(rest)


def _type(io_type, *arguments):
    class Input(_Port):
        def __init__(self, id, *given, **rest):
            super().__init__(id, **dict(zip(arguments, given, strict=False)), **rest)

    class Output(_Port):
        pass

    Input.io_type = Output.io_type = io_type
    return SimpleNamespace(Input=Input, Output=Output, io_type=io_type)


@dataclass
class _Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False
    search_aliases: list = field(default_factory=list)


class _Node:
    @classmethod
    def GET_SCHEMA(cls):
        return cls.define_schema()


class _Output:
    def __init__(self, *args, ui=None, expand=None, block_execution=None):
        self.args, self.ui = args, ui

    @property
    def result(self):
        return self.args or None


io = SimpleNamespace(
    ComfyNode=_Node, Schema=_Schema, NodeOutput=_Output, Custom=lambda io_type: _type(io_type),
    Mask=_type("MASK"), Image=_type("IMAGE"), Float=_type("FLOAT"), Int=_type("INT"), Boolean=_type("BOOLEAN"),
    Combo=_type("COMBO", "options"), String=_type("STRING"), Color=_type("COLOR"), Video=_type("VIDEO"),
)


class VideoFromFile:
    def __init__(self, file):
        self.file = file

    def get_stream_source(self):
        return self.file


class VideoFromComponents:
    def __init__(self, components):
        self.components = components

    def get_components(self):
        return self.components


@dataclass
class VideoComponents:
    images: object
    frame_rate: object
    audio: object = None


InputImpl = SimpleNamespace(VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents)
Types = SimpleNamespace(VideoComponents=VideoComponents)
