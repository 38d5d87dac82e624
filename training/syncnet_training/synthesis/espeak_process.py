"""Speaks one text with libespeak-ng and reports where each phoneme begins.

Run as a program of its own (standard library only): the C library keeps state between utterances,
so only a fresh process gives the same sound for the same request.

stdin: JSON {"library", "voice", "text", "rate", "pitch", "range", "seed"}; a voice that is
not installed is replaced by its language, or by English. stdout: one line of JSON {"rate": Hz,
"voice": the one taken, "phonemes": [[first sample, IPA], ...]}, then 16-bit PCM.
"""

import ctypes
import json
import sys

_SYNCHRONOUS, _PHONEME_EVENTS, _IPA_NAMES, _DONT_EXIT = 2, 0x0001, 0x0002, 0x8000
_UTF8, _PHONEME_EVENT, _RATE, _PITCH, _RANGE = 1, 7, 1, 3, 4


class _Id(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng/speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


def _main() -> int:
    request = json.load(sys.stdin)
    library = ctypes.CDLL(request["library"])
    ctypes.CDLL(None).srand(ctypes.c_uint(request["seed"]))
    sound = bytearray()
    phonemes: list[tuple[int, str]] = []

    def collect(wave: int | None, count: int, events: "ctypes._Pointer[_Event]") -> int:
        if wave and count > 0:
            sound.extend(ctypes.string_at(wave, 2 * count))
        index = 0
        while events[index].type != 0:
            if events[index].type == _PHONEME_EVENT:
                name = bytes(events[index].id.string).split(b"\0")[0]
                phonemes.append((events[index].sample, name.decode("utf-8", "ignore")))
            index += 1
        return 0

    callback = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event)
    )(collect)
    options = _PHONEME_EVENTS | _IPA_NAMES | _DONT_EXIT
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, options)
    if rate <= 0:
        print("it can't be initialised; is its data installed?", file=sys.stderr)
        return 1
    library.espeak_SetSynthCallback(callback)
    for voice in (request["voice"], request["voice"].partition("+")[0], "en"):
        if library.espeak_SetVoiceByName(voice.encode()) == 0:
            break
    else:
        print("it has no English voice", file=sys.stderr)
        return 1
    for parameter, key in ((_RATE, "rate"), (_PITCH, "pitch"), (_RANGE, "range")):
        library.espeak_SetParameter(parameter, request[key], 0)
    text = request["text"].encode()
    library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, _UTF8, None, None)
    out = sys.stdout.buffer
    out.write(json.dumps({"rate": rate, "voice": voice, "phonemes": phonemes}).encode() + b"\n")
    out.write(sound)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
