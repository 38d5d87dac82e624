"""Random things to say: everyday words of a few languages mixed with words that don't exist."""

import numpy as np

_WORDS = {
    "en": "the a my your some people money baby happy paper maybe remember summer number problem "
    "before morning home problem important family mother father brother woman table apple coffee "
    "simple people perhaps possible family beautiful window water river village very voice over "
    "every five seven never visit video fish fresh four first phone after enough coffee long time "
    "good day year way thing world life hand part child eye place work week case point company "
    "system program question government night house room book story month lot right study word "
    "business issue side kind head service friend power hour game line end member law car city "
    "community name president team minute idea body information back parent face others level "
    "office door health person art war history party result change reason research girl guy "
    "moment air teacher force education we think that this was because could not would about what "
    "when why bubble bomb map maple mumble wobble wolf swim swamp show shoe chew cheese choose".split(),
    "de": "der die das und aber immer Mann Frau Kind Baum Blume Mutter Papa Abend Morgen Woche Problem "
    "Fenster Wasser Wein Freund fahren viel vor fünf schön möglich müde Bühne über warum bleiben "
    "oben unten haben sprechen Schule bauen Bruder geben leben lieben Sommer Wohnung".split(),
    "fr-be": "le la un une beau bon maman papa femme homme petit peu pomme pain vie vous voir vent fumer "
    "fenêtre bonjour toujours problème moment boire maison main jambe rouge bleu blanc fou feu rue "
    "lune musique oiseau ouvrir problème famille village voiture".split(),
    "es": "el la un una bueno mamá papá mujer hombre pequeño poco manzana pan vida ver viento fumar ventana "
    "siempre problema momento beber casa mano pierna rojo azul blanco fuego calle luna música pájaro "
    "abrir familia pueblo bomba campo tiempo empezar nombre".split(),
    "it": "il la un buono mamma papà donna uomo piccolo poco mela pane vita vedere vento fumo finestra "
    "sempre problema momento bere casa mano gamba rosso blu bianco fuoco strada luna musica famiglia "
    "bambino campo tempo nome bello".split(),
    "pl": "dobry mama tata kobieta mały jabłko chleb życie okno zawsze problem moment pić dom ręka czerwony "
    "biały ogień ulica muzyka rodzina wieś pole czas początek piękny w bomba pomoc".split(),
    "pt-br": "bom mamãe papai mulher homem pequeno pouco pão vida ver vento janela sempre problema momento "
    "beber casa mão perna vermelho azul branco fogo rua lua música família campo tempo nome".split(),
    "nl": "de het goed moeder vader vrouw man klein appel brood leven wind raam altijd probleem moment "
    "drinken huis hand been rood blauw wit vuur straat maan muziek familie dorp boom boven".split(),
}  # fmt: skip
_ONSETS = "b p m f v w b p m t d n s k g l r sh ch j h br pl fl st tr gr".split()
_MIDDLES = "a e i o u a e i o u ai ee oo ou".split()
_ENDS = ["", "", "", "n", "m", "b", "p", "s", "t", "l", "v", "f", "k"]


def _invented(rng: np.random.Generator) -> str:
    parts = (rng.choice(_ONSETS) + rng.choice(_MIDDLES) for _ in range(int(rng.integers(1, 4))))
    return "".join(parts) + str(rng.choice(_ENDS))


def random_text(rng: np.random.Generator, words: int) -> tuple[str, str]:
    """A language code of espeak-ng and a text of about `words` words with punctuation."""
    language = "en" if rng.random() < 0.55 else str(rng.choice(list(_WORDS)))
    invented = rng.uniform(0, 0.5)
    said: list[str] = []
    while len(said) < words:
        length = int(rng.integers(2, 9))
        for _ in range(length):
            if rng.random() < invented:
                said.append(_invented(rng))
            else:
                said.append(str(rng.choice(_WORDS[language])))
        said[-1] += str(rng.choice([".", ",", "?", "!", ",", ""]))
    if language == "en":
        language = str(
            rng.choice(["en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan"])
        )
    return language, " ".join(said)
