"""Ingest: any source as frames at 25 fps and samples at 16 kHz on one clock."""

from syncnet_client.media.arrays import ArrayMedia
from syncnet_client.media.paired import PairedMedia, open_paired, sound_for
from syncnet_client.media.pictures import ArrayPicture, DecodedPicture, Picture
from syncnet_client.media.reader import MediaReader, open_media
from syncnet_client.media.types import Frame, Media, MediaBlock, MediaSummary, StreamInfo

__all__ = [
    "ArrayMedia",
    "ArrayPicture",
    "DecodedPicture",
    "Frame",
    "Media",
    "MediaBlock",
    "MediaReader",
    "MediaSummary",
    "PairedMedia",
    "Picture",
    "StreamInfo",
    "open_media",
    "open_paired",
    "sound_for",
]
