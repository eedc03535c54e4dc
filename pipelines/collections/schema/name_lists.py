"""The words that columns and files are called by, in English, German, French, Spanish and a little more."""

Subject = str
"""`query`, `user`, `document`, or empty; `question` where a word may name a query or a part of a document."""
Attribute = str
"""`id`, `key` (the id of something else), `title`, `text`, `segment`, `grade`, `time`, `split`, `event`, `link`, `measure`,
`person`, `state`, or empty."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SUBJECTS: dict[Subject, frozenset[str]] = {
    "query": _set("query queries qry suchanfrage suchbegriff suchwort anfrage requete consulta busqueda utterance"),
    "question": _set(
        "question questions topic topics term keyword keywords phrase prompt claim search frage pregunta recherche suche"
    ),
    "user": _set(
        "user users customer customers reviewer member visitor session client shopper buyer viewer listener player account"
        " kunde kunden benutzer nutzer utilisateur usuario cliente"
    ),
    "document": _set(
        "document documents doc docs corpus item items product products article articles passage passages paragraph sentence"
        " page movie movies film films book books song track artist recipe recipes paper post sku asin ean gtin upc isbn issn"
        " listing offer ad job game app faq stock business restaurant place hotel course video news story candidate result"
        " answer chunk produkt produkte artikel dokument dokumente buch rezept produit produits livre recette producto"
        " productos articulo articulos documento documentos libro receta prodotto"
    ),
}
"""Words that say whom a column speaks of; the first subject with a word in the name wins."""

ATTRIBUTES: dict[Attribute, frozenset[str]] = {
    "measure": _set(
        "price cost count length width height depth weight size amount total rank position percent ratio age latitude lat"
        " longitude lon pages votes preis prix precio anzahl gewicht menge shipping discount margin year jahr annee ano version"
        " lang language sprache langue idioma average avg likes views downloads word words char chars tokens embedding vector"
        " hash checksum md5 sha256 currency zip postal"
    ),
    "link": _set(
        "url uri link links href permalink image images img picture photo thumbnail thumb icon logo path file filename bild"
        " foto lien liens enlace"
    ),
    "time": _set("time timestamp ts date datetime datum zeit zeitpunkt fecha hora heure when epoch created updated modified"),
    "split": _set("split fold subset partition"),
    "grade": _set(
        "grade grades relevance relevant relevancy label labels judgment judgement judgments rel score rating ratings rated"
        " gain gold qrel qrels relevanz urteil bewertung pertinence relevancia esci annotation stars overall"
    ),
    "segment": _set(
        "category categories cat class type brand brands department group section genre genres segment family vendor supplier"
        " manufacturer maker publisher topic kategorie kategorien marke hersteller rubrik abteilung gruppe warengruppe"
        " categorie marque rayon fabricant categoria marca fabricante departamento seccion genero tipo collection subcategory"
        " sport cuisine industry field discipline категория бренд 类别 分类 品牌 カテゴリ"
    ),
    "text": _set(
        "text texts about description descriptions desc body content contents abstract answer answers details summary plot"
        " overview synopsis passage paragraph sentence lyrics ingredients instructions features bullet bullets narrative"
        " snippet chunk beschreibung inhalt antwort zusammenfassung langtext kurztext contenu texte resume reponse descripcion"
        " contenido texto respuesta resumen descrizione testo descricao conteudo review comment message transcript html"
        " markdown omschrijving texto conteudo описание текст содержание 描述 内容 正文 摘要 说明 説明 本文"
    ),
    "title": _set(
        "title titles name names headline heading subject question label titel bezeichnung uberschrift titre nom designation"
        " intitule titulo nombre nome titolo naam frage pregunta caption название заголовок имя 标题 名称 商品名 タイトル"
    ),
    "event": _set("event action behavior behaviour interaction"),
}
"""Words that say what a column holds; the first attribute with a word in the name wins, except that an id comes first."""

IDS = _set("id ids identifier identifiant key uid uuid guid no nr nummer number numero num ref reference referencia code clave")
CODES = _set("sku asin ean gtin upc isbn issn docno docid handle slug doi uid uuid guid")
"""Words that are an id by themselves."""
OTHERS = _set(
    "accepted author seller owner uploader editor category categorie kategorie categoria brand marke department group parent"
    " supplier vendor manufacturer publisher company country city store shop warehouse order invoice transaction currency zip"
    " postal phone tax example row index file language lang batch version annotator rater assessor worker judge type class"
    " genre hs"
)
"""Words beside an id that make it the id of something else."""
PERSONS = _set(
    "author seller owner user customer reviewer first last middle company contact city country street artist director editor"
)
STATES = _set(
    "status state currency availability available condition language lang locale country city size unit visibility published"
    " active tax vat stock inventory color colour gender farbe couleur"
)
RATERS = _set("agent rater annotator judge assessor worker coder expert reviewer evaluator person user")
"""Words of one person's grades among others'."""
AGREED = _set("final mean average avg median majority consensus aggregated aggregate agreed adjudicated gold overall")
RELEVANCE = _set(
    "relevance relevant relevancy grade grades judgment judgement judgments gain gold qrel qrels relevanz urteil pertinence"
    " relevancia esci"
)
"""Words that speak of judgments and of nothing else; a rating or score may be a product's as well."""
VALUES = _set("quantity qty plays listens hours clicks purchases value menge cantidad quantite weight playcount")
"""Words for what an interaction is worth."""
QUESTIONS = _set("question questions frage pregunta")
LANGUAGES = _set("en de fr es it pt nl pl us uk gb eng deu ger fra spa english german french spanish")
GENERAL_TITLES = _set("title titel titulo titre titolo headline heading uberschrift")
MAIN_SEGMENTS = _set("category categories cat kategorie categorie categoria rubrik type class department genre genres section")
ADDRESSES = _set("url uri link permalink href path file filename lien enlace")
PICTURES = _set("image images img picture photo thumbnail thumb icon logo bild foto")
REVIEWS = _set("review reviews comment comments message")
ALIASES = {
    "q": ("query",), "d": ("document",), "u": ("user", "id"), "i": ("item", "id"), "t": ("time",), "r": ("rating",),
    "qid": ("query", "id"), "did": ("document", "id"), "iid": ("item", "id"), "pid": ("product", "id"), "mid": ("movie", "id"),
    "docno": ("document", "id"), "docid": ("document", "id"), "unixreviewtime": ("time",), "stockcode": ("product", "id"),
    "rel": ("relevance",), "cust": ("customer",), "prod": ("product",), "usr": ("user",), "cat": ("category",),
}  # fmt: skip
"""Short names and what they stand for; a single letter only where it is the whole name."""
GLUE = frozenset().union(*SUBJECTS.values(), *ATTRIBUTES.values(), IDS, _set("full long short main"))
"""Words that are written together with others."""

FILES: dict[str, frozenset[str]] = {
    "qrels": _set(
        "qrels qrel judgments judgements judgment judgement relevance annotations judged rated labels label gold relevanz"
    ),
    "queries": SUBJECTS["query"] | _set("topic topics question questions searches suchanfragen requetes consultas"),
    "users": _set("user users customers members kunden nutzer benutzer utilisateurs usuarios clientes people persons"),
    "interactions": _set(
        "interactions interaction events clicks views purchases orders transactions log logs inter reviews ratings"
    ),
    "documents": SUBJECTS["document"]
    | _set("collection catalog catalogue katalog sortiment feed inventory meta metadata posts papers listings faqs"),
}
"""Words in the names of files and folders, by the kind of table that they speak for."""
SPLIT_NAMES = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "heldout": "test", "holdout": "test",
    "dev": "dev", "devel": "dev", "valid": "dev", "validation": "dev", "val": "dev",
}  # fmt: skip
"""Sides of a split."""
