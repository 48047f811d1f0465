"""Names that other programs give to parameters."""

from __future__ import annotations


def hustvl_name(name: str) -> str:
    """The hub's name of a parameter as hustvl's code has it."""
    for hub, hustvl in (("backbone.embeddings.position_embeddings", "backbone.pos_embed"),
                        ("backbone.embeddings.projection.", "backbone.patch_embed.proj."),
                        ("backbone.encoder.layer.", "backbone.blocks."), (".attention.", ".attn."),
                        ("decoder.fusion_blocks.", "decoder.fusion_blks."), (".batch_norm.", ".bn.")):
        name = name.replace(hub, hustvl)
    return name
