"""Collections in many layouts, and what each is to be taken for."""

import json
from dataclasses import dataclass, field
from typing import Any

from pipelines.collections.record import Role
from tests.pipelines.collections.layouts import lines, rows, words

PRODUCTS = [[f"P-{n:04d}", words(3), words(14), ("Acme", "Globex", "Initech")[n % 3], f"{n}.90"] for n in range(40)]
PRODUCTS_CSV = rows("sku name description brand price", PRODUCTS)
ARTICLES_CSV = rows("id title body", [[n, words(5), words(60)] for n in range(40)])
RATINGS = [[n % 23 + 1, n * 7 % 40 + 1, n % 5 + 1, 881250949 + n * 1000] for n in range(150)]
FILMS = [[n, f"{words(2)} (199{n % 10})", ("Drama", "Comedy|Drama", "War")[n % 3]] for n in range(1, 41)]


@dataclass
class Case:
    files: dict[str, str]
    parts: list[str]
    name: str = ""
    notes: list[str] = field(default_factory=list)
    """What must be said."""
    columns: tuple[str, ...] = ()
    grades: str = ""
    roles: dict[str, Role] = field(default_factory=dict)


def judged(*, grade: Any = lambda n: n % 3, query: Any = lambda n: f"red lamp {n // 8}", count: int = 40) -> list[list[Any]]:
    return [[query(n), PRODUCTS[n % 40][0], grade(n)] for n in range(count)]


def beir(side: str, first: int, last: int) -> dict[str, str]:
    found = [[f"q{n % 20}", f"d{n}", n % 3] for n in range(first, last)]
    return {f"qrels/{side}.tsv": rows("query-id corpus-id score", found, "\t")}


def esci(columns: str) -> str:
    """A row for each judgment, with what is known of the query and the product beside it."""
    there = [
        "example_id",
        "query",
        "query_id",
        "product_id",
        "product_locale",
        "esci_label",
        "split",
        "product_title",
        "product_description",
        "product_brand",
    ]
    found = [
        [
            n,
            f"lamp for room {n // 8}",
            n // 8,
            f"B{n % 25:09d}",
            "us",
            "ESCI"[n % 4],
            ("train", "test")[n // 8 % 2],
            f"Lamp {n % 25}",
            f"A lamp for the room with the number {n % 25}",
            ("Acme", "Globex")[n % 25 % 2],
        ]
        for n in range(80)
    ]
    return rows(columns, [[row[there.index(name)] for name in columns.split(" ")] for row in found])


def trec(name: str, columns: list[str], found: list[list[Any]]) -> str:
    elements = ("".join(f"<{tag}>{cell}</{tag}>\n" for tag, cell in zip(columns, row, strict=True)) for row in found)
    return "".join(f"<{name}>\n{element}</{name}>\n" for element in elements)


CASES = {
    "a BEIR folder": Case(
        {
            "corpus.jsonl": lines({"_id": f"d{n}", "title": words(4), "text": words(30), "metadata": {}} for n in range(60)),
            "queries.jsonl": lines({"_id": f"q{n}", "text": words(4), "metadata": {"url": f"/{n}"}} for n in range(20)),
            **beir("train", 0, 20),
            **beir("dev", 20, 40),
            **beir("test", 40, 60),
        },
        [
            "documents corpus.jsonl id=_id text=title+text title=title",
            "qrels qrels/dev.tsv[dev] document=corpus-id grade=score query=query-id",
            "qrels qrels/test.tsv[test] document=corpus-id grade=score query=query-id",
            "qrels qrels/train.tsv[train] document=corpus-id grade=score query=query-id",
            "queries queries.jsonl id=_id text=text",
        ],
        "BEIR folder",
        ["dev is the train queries by which stages are chosen", "0..2, 2 is the best"],
    ),
    "a BEIR folder without a test side": Case(
        {
            "corpus.jsonl": lines({"_id": f"d{n}", "text": words(30)} for n in range(60)),
            "queries.jsonl": lines({"_id": f"q{n}", "text": words(4)} for n in range(20)),
            **beir("train", 0, 30),
            **beir("dev", 30, 60),
        },
        [
            "documents corpus.jsonl id=_id text=text",
            "qrels qrels/dev.tsv[test] document=corpus-id grade=score query=query-id",
            "qrels qrels/train.tsv[train] document=corpus-id grade=score query=query-id",
            "queries queries.jsonl id=_id text=text",
        ],
        notes=["dev is used as test"],
    ),
    "MS MARCO": Case(
        {
            "collection.tsv": rows("", [[7000000 + n, words(30)] for n in range(60)], "\t"),
            "queries.dev.tsv": rows("", [[1000 + 13 * n, words(6)] for n in range(30)], "\t"),
            "qrels.dev.tsv": rows("", [[1000 + 13 * (n % 30), 0, 7000000 + 977 * n, 1] for n in range(60)], "\t"),
        },
        [
            "documents collection.tsv id=id text=text",
            "qrels qrels.dev.tsv document=document_id grade=grade query=query_id",
            "queries queries.dev.tsv id=id text=text",
        ],
        "documents, queries and judgments in 3 files",
        ["no header line", "Only the side dev"],
    ),
    "TREC": Case(
        {
            "docs.sgml": trec("DOC", ["DOCNO", "TITLE", "TEXT"], [[f"FT-{n}", words(4), words(50)] for n in range(40)]),
            "topics.301-350": trec(
                "top", ["num", "title", "desc", "narr"], [[301 + n, words(3), words(12), words(30)] for n in range(20)]
            ),
            "judged.301-350": rows("", [[301 + n % 20, 0, f"FT-{n}", n % 3 - 1] for n in range(40)], " "),
        },
        [
            "documents docs.sgml id=docno text=title+text title=title",
            "qrels judged.301-350 document=document_id grade=grade query=query_id",
            "queries topics.301-350 id=num text=title",
        ],
        "TREC collection",
        ["0..1, 1 is the best"],
    ),
    "products": Case(
        {"my.csv": PRODUCTS_CSV},
        ["documents my.csv id=sku segment=brand text=name+description title=name"],
        "one table of documents",
    ),
    "German": Case(
        {
            "artikel.csv": rows(
                "Artikelnummer Bezeichnung Langtext Warengruppe Preis",
                [[n, words(3), words(20), "AB"[n % 2], "9,90"] for n in range(40)],
                ";",
            )
        },
        ["documents artikel.csv id=Artikelnummer segment=Warengruppe text=Bezeichnung+Langtext title=Bezeichnung"],
    ),
    "French": Case(
        {
            "produits.csv": rows(
                "référence nom_produit résumé catégorie", [[f"R{n}", words(3), words(20), "AB"[n % 2]] for n in range(40)], ";"
            )
        },
        ["documents produits.csv id=référence segment=catégorie text=nom_produit+résumé title=nom_produit"],
    ),
    "Spanish": Case(
        {
            "productos.csv": rows(
                "código título descripción categoría", [[f"R{n}", words(3), words(20), "AB"[n % 2]] for n in range(40)]
            )
        },
        ["documents productos.csv id=código segment=categoría text=título+descripción title=título"],
    ),
    "Chinese": Case(
        {
            "商品.csv": rows(
                "编号 商品名 描述 类别",
                [
                    [f"C{n}", f"红色木椅{n}", "这是一把非常漂亮的红色木制椅子适合厨房和花园使用", "家厨"[n % 2]]
                    for n in range(40)
                ],
            )
        },
        ["documents 商品.csv id=编号 segment=类别 text=商品名+描述 title=商品名"],
    ),
    "names that say nothing": Case(
        {"export.csv": rows("aa bb cc dd", [[f"X{n}", words(2), words(25), "AB"[n % 2]] for n in range(40)])},
        ["documents export.csv id=aa segment=dd text=bb+cc title=bb"],
    ),
    "questions and answers without ids": Case(
        {
            "faq.csv": rows(
                "question answer category", [[words(7) + "?", words(25), ("billing", "shipping")[n % 2]] for n in range(40)]
            )
        },
        ["documents faq.csv id= segment=category text=question+answer title=question"],
        notes=["ids are made from the texts"],
    ),
    "pages by address": Case(
        {
            "pages.jsonl": lines(
                {"url": f"https://x/a/{n}", "headline": words(5), "content": words(60), "crawled_at": "2020-01-02"}
                for n in range(40)
            )
        },
        ["documents pages.jsonl id=url text=headline+content title=headline"],
    ),
    "ids written as floats": Case(
        {"p.csv": rows("id title text", [[f"{n}.0", words(5), words(30)] for n in range(40)])},
        ["documents p.csv id=id text=title+text title=title"],
        notes=["written as floats, such as 0.0"],
    ),
    "pieces of documents": Case(
        {"chunks.csv": rows("doc_id position text", [[f"d{n // 4}", n % 4, words(40)] for n in range(40)])},
        ["documents chunks.csv id= text=text"],
        notes=["an id of the documents (doc_id repeats): ids are made"],
    ),
    "a data frame's index": Case(
        {"p.csv": "".join([",title,text\n", *(f"{n},{words(4)},{words(30)}\n" for n in range(40))])},
        ["documents p.csv id=column 1 text=title+text title=title"],
        notes=["seems to count rows"],
    ),
    "a text a line": Case(
        {"lines.txt": "".join(words(12) + "\n" for _ in range(40))},
        ["documents lines.txt id= text=text"],
    ),
    "texts in HTML and as they are": Case(
        {
            "p.jsonl": lines(
                {
                    "handle": f"h-{n}",
                    "title": words(3),
                    "body_html": f"<p>{(text := words(20))}</p>",
                    "body": text,
                    "vendor": "AB"[n % 2],
                }
                for n in range(40)
            )
        },
        ["documents p.jsonl id=handle segment=vendor text=title+body title=title"],
    ),
    "two languages": Case(
        {
            "p.jsonl": lines(
                {"id": n, "title_en": words(3), "title_de": words(3), "text_en": words(21), "text_de": words(20)}
                for n in range(40)
            )
        },
        ["documents p.jsonl id=id text=title_en+text_en title=title_en"],
    ),
    "objects within objects": Case(
        {
            "hits.jsonl": lines(
                {
                    "_index": "p",
                    "_id": f"x{n}",
                    "_source": {
                        "product": {"title": words(4), "description": words(20)},
                        "category": {"id": n % 2, "name": ("home", "garden")[n % 2]},
                    },
                }
                for n in range(40)
            )
        },
        [
            "documents hits.jsonl id=_id segment=_source.category.name"
            " text=_source.product.title+_source.product.description title=_source.product.title"
        ],
    ),
    "listings that name their seller": Case(
        {
            "listings.csv": rows(
                "listing_id user_id title description price created_at",
                [[n, n % 7, words(4), words(30), "9.9", "2024-01-01"] for n in range(40)],
            )
        },
        ["documents listings.csv id=listing_id text=title+description title=title"],
    ),
    "posts with an owner and a score": Case(
        {
            "posts.jsonl": lines(
                {
                    "Id": n,
                    "Title": words(6),
                    "Body": f"<p>{words(30)}</p>",
                    "OwnerUserId": n % 9,
                    "Score": n % 20,
                    "CreationDate": "2020-01-01T00:00:00",
                }
                for n in range(40)
            )
        },
        ["documents posts.jsonl id=Id text=Title+Body title=Title"],
        notes=["Body has markup"],
    ),
    "shards in folders, named alike": Case(
        {
            "a/products.csv": rows("sku name description brand price", PRODUCTS[:20]),
            "b/products.csv": rows("sku name description brand price", PRODUCTS[20:]),
        },
        [
            "documents a/products.csv id=sku segment=brand text=name+description title=name",
            "documents b/products.csv id=sku segment=brand text=name+description title=name",
        ],
        "documents in 2 files",
    ),
    "shards in several formats": Case(
        {
            "a.csv": rows("sku name description brand price", PRODUCTS[:20]),
            "b.jsonl": lines(
                dict(zip(["sku", "name", "description", "brand", "price"], row, strict=True)) for row in PRODUCTS[20:]
            ),
        },
        [
            "documents a.csv id=sku segment=brand text=name+description title=name",
            "documents b.jsonl id=sku segment=brand text=name+description title=name",
        ],
    ),
    "the same rows in two formats": Case(
        {
            "a.csv": PRODUCTS_CSV,
            "b.jsonl": lines(dict(zip(["sku", "name", "description", "brand", "price"], row, strict=True)) for row in PRODUCTS),
        },
        ["documents a.csv id=sku segment=brand text=name+description title=name"],
        notes=["b.jsonl is left aside: it repeats rows of a.csv"],
    ),
    "other tables beside the documents": Case(
        {
            "articles.csv": ARTICLES_CSV,
            "authors.csv": rows("id name country", [[n, words(2), "DE"] for n in range(20)]),
            "years.csv": rows("year count", [[1990 + n, n] for n in range(20)]),
            "config.json": json.dumps([{"a": 1}]),
        },
        ["documents articles.csv id=id text=title+body title=title"],
        notes=["authors.csv is left aside", "years.csv is left aside", "config.json is left aside"],
    ),
    "documents and queries": Case(
        {"articles.csv": ARTICLES_CSV, "topics.csv": rows("id text", [[n, words(4)] for n in range(20)])},
        ["documents articles.csv id=id text=title+body title=title", "queries topics.csv id=id text=text"],
        "documents and queries in 2 files",
    ),
    "a row for each judgment": Case(
        {
            "all.csv": esci(
                "example_id query query_id product_id product_title product_description product_brand product_locale"
                " esci_label split"
            )
        },
        [
            "documents all.csv* id=product_id segment=product_brand text=product_title+product_description title=product_title",
            "qrels all.csv document=product_id grade=esci_label query=query_id split=split",
            "queries all.csv* id=query_id split=split text=query",
        ],
        "one table of documents, queries and judgments",
        ["I < C < S < E"],
    ),
    "judgments with queries, products, and where queries are from": Case(
        {
            "examples.csv": esci("example_id query query_id product_id product_locale esci_label split"),
            "products.csv": rows(
                "product_id product_title product_description product_brand product_locale",
                [[f"B{n:09d}", words(5), words(20), "AB"[n % 2], "us"] for n in range(40)],
            ),
            "sources.csv": rows("query_id source", [[n, ("other", "negations")[n % 2]] for n in range(12)]),
        },
        [
            "documents products.csv id=product_id segment=product_brand text=product_title+product_description"
            " title=product_title",
            "qrels examples.csv document=product_id grade=esci_label query=query_id split=split",
            "queries examples.csv* id=query_id split=split text=query",
        ],
        notes=["sources.csv is left aside"],
    ),
    "WANDS": Case(
        {
            "product.csv": rows(
                "product_id product_name product_class category_hierarchy product_description average_rating",
                [
                    [n, words(4), ("Beds", "Lamps")[n % 2], f"Home / {words(2)}", words(30) if n % 4 else "", 4.5]
                    for n in range(60)
                ],
                "\t",
            ),
            "query.csv": rows("query_id query query_class", [[n, words(3), ("Beds", "Lamps")[n % 2]] for n in range(30)], "\t"),
            "label.csv": rows(
                "id query_id product_id label",
                [[n, n // 5, 25434 + 3 * n, ("Exact", "Partial", "Irrelevant")[n % 3]] for n in range(60)],
                "\t",
            ),
        },
        [
            "documents product.csv id=product_id segment=product_class text=product_name+product_description"
            " title=product_name",
            "qrels label.csv document=product_id grade=label query=query_id",
            "queries query.csv id=query_id text=query",
        ],
        notes=["Irrelevant < Partial < Exact"],
    ),
    "query texts instead of ids": Case(
        {"products.csv": PRODUCTS_CSV, "rated.csv": rows("query docid rating", judged())},
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels rated.csv document=docid grade=rating query_text=query",
            "queries rated.csv* id= text=query",
        ],
    ),
    "query texts instead of the ids that the queries have": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "queries.csv": rows("id text", [[n, f"red lamp {n}"] for n in range(5)]),
            "judgments.csv": rows("query sku rating", judged()),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels judgments.csv document=sku grade=rating query_text=query",
            "queries queries.csv id= text=text",
        ],
        notes=["names queries by their texts"],
    ),
    "single people's grades beside agreed ones": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "rated.csv": rows("query docid rating", judged()),
            "experts.csv": rows(
                "query docid name agent_1_rating agent_2_rating final_rating",
                [[*row[:2], "x", row[2], 0, row[2]] for row in judged()],
            ),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels rated.csv document=docid grade=rating query_text=query",
            "queries rated.csv* id= text=query",
        ],
        notes=["experts.csv is left aside: single people's judgments"],
    ),
    "agreed grades in the table of single people's": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "raters.csv": rows(
                "query docid agent_1_rating agent_2_rating final_rating", [[*row[:2], 0, 1, row[2]] for row in judged()]
            ),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels raters.csv document=docid grade=final_rating query_text=query",
            "queries raters.csv* id= text=query",
        ],
        notes=["final_rating is used for grades"],
    ),
    "a passage a row, without ids": Case(
        {"train.csv": rows("query passage label", [[f"what is {n // 5}", words(20), n % 2] for n in range(60)])},
        [
            "documents train.csv* id= text=passage",
            "qrels train.csv document_text=passage grade=label query_text=query",
            "queries train.csv* id= text=query",
        ],
    ),
    "sentences of documents that answer questions": Case(
        {
            "qa.tsv": rows(
                "QuestionID Question DocumentID DocumentTitle SentenceID Sentence Label",
                [
                    [
                        f"Q{n // 6}",
                        f"how big is thing {n // 6}?",
                        f"D{n // 6}",
                        f"Thing {n // 6}",
                        f"D{n // 6}-{n % 6}",
                        words(15),
                        int(n % 6 == 2),
                    ]
                    for n in range(90)
                ],
                "\t",
            )
        },
        [
            "documents qa.tsv* id=SentenceID text=DocumentTitle+Sentence title=DocumentTitle",
            "qrels qa.tsv document=SentenceID grade=Label query=QuestionID",
            "queries qa.tsv* id=QuestionID text=Question",
        ],
    ),
    "judgments whose columns have no names to go by": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "queries.csv": rows("id text", [[f"t{n}", words(3)] for n in range(8)]),
            "pairs.csv": rows("a b c", judged(query=lambda n: f"t{n // 8}")),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels pairs.csv document=b grade=c query=a",
            "queries queries.csv id=id text=text",
        ],
        notes=["a is taken for the query and b for the document"],
    ),
    "pairs without grades": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "queries.csv": rows("query_id query", [[f"t{n}", words(3)] for n in range(8)]),
            "relevant.csv": rows("query_id sku", [row[:2] for row in judged(query=lambda n: f"t{n // 8}")]),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels relevant.csv document=sku query=query_id",
            "queries queries.csv id=query_id text=query",
        ],
        notes=["each of its rows counts as a relevant document"],
    ),
    "a pool that nobody has judged yet": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "pool.csv": rows(
                "query_id query document_id title text grade",
                [[f"q{n // 8}", f"lamp {n // 8}", *PRODUCTS[n][:3], ""] for n in range(40)],
            ),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels pool.csv document=document_id grade=grade query=query_id",
            "queries pool.csv* id=query_id text=query",
        ],
        notes=["a row without a grade is no judgment"],
        roles={"pool.csv": "qrels"},
    ),
    "results of a system beside judgments": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "results.csv": rows(
                "query sku rank score", [[f"lamp {n // 8}", PRODUCTS[n][0], n % 8 + 1, 9 - n / 7] for n in range(40)]
            ),
        },
        ["documents products.csv id=sku segment=brand text=name+description title=name"],
        notes=["results.csv is left aside: results of a system"],
    ),
    "files and texts that don't say which are queries": Case(
        {
            "a.csv": rows("id text", [[f"Q{n}", words(9)] for n in range(20)]),
            "b.csv": rows("id text", [[f"D{n}", words(7)] for n in range(40)]),
            "c.csv": rows("qid did rel", [[f"Q{n % 20}", f"D{n}", n % 2] for n in range(40)]),
        },
        [
            "documents b.csv id=id text=text",
            "qrels c.csv document=did grade=rel query=qid",
            "queries a.csv id=id text=text",
        ],
    ),
    "columns that few rows fill": Case(
        {
            "p.jsonl": lines(
                {"id": n, "name": words(3), "summary": words(12)}
                | (
                    {"client": f"c{n}", "item": f"i{n}", "rating": 3, "released": "2020-01-01", "notes": words(30)}
                    if n % 5 == 0
                    else {}
                )
                for n in range(60)
            )
        },
        ["documents p.jsonl id=id text=name+summary title=name"],
    ),
    "two columns of ids, one of which the documents have": Case(
        {
            "products.csv": rows("number title description", [[f"X-{n}", words(3), words(20)] for n in range(40)]),
            "judged.csv": rows("query asin sku grade", [[f"lamp {n // 8}", f"B{n:05d}", f"X-{n}", n % 3] for n in range(40)]),
        },
        [
            "documents products.csv id=number text=title+description title=title",
            "qrels judged.csv document=sku grade=grade query_text=query",
            "queries judged.csv* id= text=query",
        ],
    ),
    "Japanese under names that say nothing": Case(
        {
            "一覧.csv": rows(
                "甲 乙 丙",
                [
                    [
                        f"C{n}",
                        f"赤い木の椅子{'一二三四五'[n % 5]}{'六七八九十百千万'[n // 5]}",
                        "とても美しい赤い木の椅子で台所にも庭にも使えます",
                    ]
                    for n in range(40)
                ],
            )
        },
        ["documents 一覧.csv id=甲 text=乙+丙 title=乙"],
    ),
    "fractions as grades, and a side without any": Case(
        {
            "train.csv": rows(
                "id product_uid product_title search_term relevance",
                [
                    [n, 100 + n * 7 % 40, words(4), f"lamp {n // 3}", (1, 1.33, 1.67, 2, 2.33, 2.67, 3)[n % 7]]
                    for n in range(90)
                ],
            ),
            "test.csv": rows(
                "id product_uid product_title search_term",
                [[n, 100 + n * 7 % 40, words(4), f"rug {n // 3}"] for n in range(90)],
            ),
            "product_descriptions.csv": rows("product_uid product_description", [[100 + n, words(40)] for n in range(40)]),
            "attributes.csv": rows("product_uid name value", [[100 + n // 4, f"Bullet{n % 4}", words(4)] for n in range(90)]),
        },
        [
            "documents product_descriptions.csv id=product_uid text=product_description",
            "qrels train.csv document=product_uid grade=relevance query_text=search_term",
            "queries train.csv* id= text=search_term",
        ],
        notes=["test.csv is left aside", "attributes.csv is left aside", "1 < 1.33 < 1.67", "Only the side train"],
    ),
    "judgments as objects": Case(
        {
            "pairs.jsonl": lines(
                {
                    "query": {"id": f"q{n // 5}", "text": f"red lamp {n // 5}"},
                    "doc": {"id": f"d{n % 20}", "title": f"lamp {n % 20}", "text": f"a lamp that is called {n % 20}"},
                    "relevance": n % 3,
                }
                for n in range(60)
            )
        },
        [
            "documents pairs.jsonl* id=doc.id text=doc.title+doc.text title=doc.title",
            "qrels pairs.jsonl document=doc.id grade=relevance query=query.id",
            "queries pairs.jsonl* id=query.id text=query.text",
        ],
    ),
    "judgments as lists within the queries": Case(
        {
            "corpus.jsonl": lines({"id": f"d{n}", "contents": words(30)} for n in range(40)),
            "queries.jsonl": lines({"id": f"q{n}", "text": words(5), "relevant": [f"d{n}", f"d{n + 1}"]} for n in range(20)),
        },
        ["documents corpus.jsonl id=id text=contents", "queries queries.jsonl id=id text=text"],
        notes=["relevant of queries.jsonl lists documents, and is not used"],
    ),
    "labels of one word": Case(
        {
            "icons.csv": rows(
                "id label category", [[f"ic-{n}", f"{words(1)}{'xyz'[n % 3]}", ("Arrows", "Media")[n % 2]] for n in range(40)]
            )
        },
        ["documents icons.csv id=id segment=category text=label title=label"],
    ),
    "products with what people said of them": Case(
        {
            "sales.csv": rows(
                "product_id product_name category about_product rating user_id review_content",
                [[f"B{n:04d}", words(6), ("A", "B")[n % 2], words(20), 4.2, f"AG{n}", words(40)] for n in range(40)],
            )
        },
        ["documents sales.csv id=product_id segment=category text=product_name+about_product title=product_name"],
    ),
    "files by their names": Case(
        {"contracts.csv": rows("Filename Parties Agreement_Text", [[f"a_{n}.pdf", words(3), words(60)] for n in range(30)])},
        ["documents contracts.csv id=Filename text=Parties+Agreement_Text title=Parties"],
    ),
    "posts of a web site": Case(
        {
            "posts.json": json.dumps(
                [
                    {
                        "id": n,
                        "slug": f"post-{n}",
                        "link": f"https://x/{n}",
                        "title": {"rendered": words(5)},
                        "content": {"rendered": f"<p>{words(50)}</p>", "protected": False},
                        "categories": [n % 3, 2],
                    }
                    for n in range(40)
                ]
            )
        },
        ["documents posts.json id=id text=title.rendered+content.rendered title=title.rendered"],
        notes=["content.rendered has markup"],
    ),
    "grades in German": Case(
        {
            "katalog.csv": rows(
                "Artikelnr Artikelbezeichnung Beschreibung", [[f"A{n}", words(3), words(20)] for n in range(40)], ";"
            ),
            "bewertungen.csv": rows(
                "Suchbegriff Artikelnr Bewertung",
                [[f"lampe {n // 8}", f"A{n}", ("relevant", "teilweise relevant", "nicht relevant")[n % 3]] for n in range(40)],
                ";",
            ),
        },
        [
            "documents katalog.csv id=Artikelnr text=Artikelbezeichnung+Beschreibung title=Artikelbezeichnung",
            "qrels bewertungen.csv document=Artikelnr grade=Bewertung query_text=Suchbegriff",
            "queries bewertungen.csv* id= text=Suchbegriff",
        ],
        notes=["nicht relevant < teilweise relevant < relevant"],
    ),
    "businesses with reviews, tips and users": Case(
        {
            "business.json": lines(
                {"business_id": f"b-{n}xQ", "name": words(2), "stars": 4.5, "categories": "Mexican, Burgers", "hours": None}
                for n in range(40)
            ),
            "review.json": lines(
                {
                    "review_id": f"r{n}",
                    "user_id": f"u{n % 20}",
                    "business_id": f"b-{n % 40}xQ",
                    "stars": 4.0,
                    "text": words(40),
                    "date": "2018-07-07 22:09:11",
                }
                for n in range(120)
            ),
            "tip.json": lines(
                {"user_id": f"u{n % 20}", "business_id": f"b-{n % 40}xQ", "text": words(8), "date": "2018-07-07 22:09:11"}
                for n in range(60)
            ),
            "user.json": lines({"user_id": f"u{n}", "name": words(1), "yelping_since": "2010-01-01"} for n in range(20)),
        },
        [
            "documents business.json id=business_id text=name+categories title=name",
            "interactions review.json document=business_id time=date user=user_id value=stars",
            "users user.json fields=name+yelping_since id=user_id",
        ],
        notes=["tip.json is left aside"],
    ),
    "a column that queries have as well": Case(
        {
            "corpus.jsonl": lines({"_id": f"d{n}", "title": words(3), "text": words(30)} for n in range(40)),
            "queries.jsonl": lines({"_id": f"q{n}", "text": words(5)} for n in range(20)),
            "qrels/test.tsv": rows("query-id corpus-id score", [[f"q{n % 20}", f"d{n}", 1] for n in range(40)], "\t"),
        },
        [
            "documents corpus.jsonl id=_id text=text title=title",
            "qrels qrels/test.tsv[test] document=corpus-id grade=score query=query-id",
            "queries queries.jsonl id=_id text=text",
        ],
        columns=("text=text",),
    ),
    "customers whose file has no word for them": Case(
        {
            "orders.csv": rows(
                "customer_id sku ordered_at", [[n % 20, PRODUCTS[n % 40][0], f"2024-01-0{n % 9 + 1}"] for n in range(120)]
            ),
            "products.csv": PRODUCTS_CSV,
            "customers.csv": rows("id age city", [[n, 20 + n, words(1)] for n in range(20)]),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "interactions orders.csv document=sku time=ordered_at user=customer_id",
            "users customers.csv fields=age+city id=id",
        ],
    ),
    "a pool that asks more than the queries": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "queries.csv": rows("id text", [[f"q{n}", f"lamp {n}"] for n in range(3)]),
            "pool.csv": rows(
                "query_id query document_id title text grade",
                [[f"q{n // 8}", f"lamp {n // 8}", *PRODUCTS[n][:3], 1 + n % 5] for n in range(40)],
            ),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels pool.csv document=document_id grade=grade query=query_id",
            "queries queries.csv id=id text=text",
            "queries pool.csv* id=query_id text=query",
        ],
        notes=["1..5, 5 is the best, and 1 is not relevant at all"],
        roles={"pool.csv": "qrels"},
    ),
    "a file that is called as another one in a folder": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "before/judged.csv": rows("query sku grade", judged()),
            "judged.csv": rows("query sku grade", judged(grade=lambda n: n % 2)),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels judged.csv document=sku grade=grade query_text=query",
            "queries judged.csv* id= text=query",
        ],
        notes=["before/judged.csv is left aside: a second set of judgments beside judged.csv"],
        roles={"judged.csv": "qrels"},
    ),
    "ids with blanks": Case(
        {"parts.csv": rows("SKU Name Desc", [[f"AB {n}", words(3), words(20)] for n in range(40)])},
        ["documents parts.csv id= text=Name+Desc title=Name"],
        notes=["an id of the documents (SKU has blanks): ids are made"],
    ),
    "a text in one language without a mark": Case(
        {
            "p.csv": rows(
                "Nr. Titel Titel_EN Text Text_EN", [[n, words(4), words(4), words(20), words(30)] for n in range(40)], ";"
            )
        },
        ["documents p.csv id=Nr. text=Titel+Text title=Titel"],
    ),
    "documents of a kind that has no word here": Case(
        {
            "anime.csv": rows(
                "anime_id name genre type", [[n, words(3), "Drama Romance", ("Movie", "TV")[n % 2]] for n in range(40)]
            ),
            "plays.csv": rows("user_id anime_id watched_at", [[n % 30, n % 40, 1588687728 + n] for n in range(120)]),
        },
        [
            "documents anime.csv id=anime_id segment=type text=name+genre+type title=name",
            "interactions plays.csv document=anime_id time=watched_at user=user_id",
        ],
    ),
    "MovieLens 100K": Case(
        {
            "ml-100k/u.data": rows("", RATINGS, "\t"),
            "ml-100k/u.item": rows(
                "",
                [
                    [n, title, "01-Jan-1995", "", "http://x/m", *(int(n % 19 == place) for place in range(19))]
                    for n, title, _ in FILMS
                ],
                "|",
            ),
            "ml-100k/u.user": rows(
                "", [[n, 20 + n, "MF"[n % 2], ("writer", "student")[n % 2], f"9{n:04d}"] for n in range(1, 24)], "|"
            ),
            "ml-100k/u.genre": rows("", [["unknown", 0], ["Action", 1], ["War", 2]], "|"),
            "ml-100k/u.info": "943 users\n1682 items\n100000 ratings\n",
            "ml-100k/u.occupation": "administrator\nartist\ndoctor\n",
            "ml-100k/u1.base": rows("", RATINGS[:100], "\t"),
            "ml-100k/u1.test": rows("", RATINGS[100:], "\t"),
        },
        [
            "documents ml-100k/u.item id=item_id text=title title=title",
            "interactions ml-100k/u.data document=item_id time=timestamp user=user_id value=rating",
            "users ml-100k/u.user fields=age+gender+occupation+zip_code id=user_id",
        ],
        "MovieLens",
        [
            "u1.base is left aside: it repeats rows",
            "u1.test is left aside",
            "ml-100k/u.info, ml-100k/u.occupation are left aside",
        ],
    ),
    "MovieLens 1M": Case(
        {
            "ratings.dat": rows("", RATINGS, "::"),
            "movies.dat": rows("", FILMS, "::"),
            "users.dat": rows("", [[n, "MF"[n % 2], 25, n % 20, f"9{n:04d}"] for n in range(1, 24)], "::"),
        },
        [
            "documents movies.dat id=item_id segment=genres text=title+genres title=title",
            "interactions ratings.dat document=item_id time=timestamp user=user_id value=rating",
            "users users.dat fields=gender+age+occupation+zip_code id=user_id",
        ],
        "MovieLens",
    ),
    "MovieLens of today": Case(
        {
            "ratings.csv": rows("userId movieId rating timestamp", RATINGS),
            "movies.csv": rows("movieId title genres", FILMS),
            "tags.csv": rows("userId movieId tag timestamp", [[n % 20, n % 40, words(2), 1139045764 + n] for n in range(40)]),
            "links.csv": rows("movieId imdbId tmdbId", [[n, f"0{n}14709", 862 + n] for n in range(1, 41)]),
        },
        [
            "documents movies.csv id=movieId segment=genres text=title+genres title=title",
            "interactions ratings.csv document=movieId time=timestamp user=userId value=rating",
        ],
        "MovieLens",
        ["tags.csv is left aside", "links.csv is left aside"],
    ),
    "RecBole": Case(
        {
            "ml.inter": rows("user_id:token item_id:token rating:float timestamp:float", RATINGS, "\t"),
            "ml.item": rows(
                "item_id:token movie_title:token_seq release_year:token class:token_seq",
                [[n, title, 1995, genres.replace("|", " ")] for n, title, genres in FILMS],
                "\t",
            ),
            "ml.user": rows("user_id:token age:token gender:token", [[n, 20 + n, "MF"[n % 2]] for n in range(1, 24)], "\t"),
            "ml.link": rows("item_id:token entity_id:token", [[n, f"m.0{n}"] for n in range(1, 41)], "\t"),
        },
        [
            "documents ml.item id=item_id segment=class text=movie_title+class title=movie_title",
            "interactions ml.inter document=item_id time=timestamp user=user_id value=rating",
            "users ml.user fields=age+gender id=user_id",
        ],
        "RecBole atomic files",
        ["ml.link is left aside"],
    ),
    "reviews and products": Case(
        {
            "reviews.json": lines(
                {
                    "reviewerID": f"A{n % 30}X",
                    "asin": f"B{n // 6:05d}",
                    "reviewerName": words(2),
                    "helpful": [1, 2],
                    "reviewText": words(40),
                    "overall": n % 5 + 1.0,
                    "summary": words(4),
                    "unixReviewTime": 1252800000 + n,
                    "reviewTime": "09 13, 2009",
                }
                for n in range(120)
            ),
            "meta.json": lines(
                {
                    "asin": f"B{n:05d}",
                    "title": words(5),
                    "description": words(30),
                    "price": 9.9,
                    "brand": "AB"[n % 2],
                    "categories": [["Toys", "Games"]],
                    "related": {},
                }
                for n in range(40)
            ),
        },
        [
            "documents meta.json id=asin segment=brand text=title+description title=title",
            "interactions reviews.json document=asin time=unixReviewTime user=reviewerID value=overall",
        ],
        "documents and interactions in 2 files",
    ),
    "reviews and products that have two ids": Case(
        {
            "Beauty.jsonl": lines(
                {
                    "rating": n % 5 + 1.0,
                    "title": words(4),
                    "text": words(30),
                    "images": [],
                    "asin": f"B00{n % 60:05d}",
                    "parent_asin": f"B01{n % 60:05d}",
                    "user_id": f"AG{n // 5:04d}",
                    "timestamp": 1588687728923 + n,
                    "verified_purchase": True,
                }
                for n in range(120)
            ),
            "meta_Beauty.jsonl": lines(
                {
                    "main_category": ("Beauty", "Toys")[n % 2],
                    "title": words(6),
                    "average_rating": 4.5,
                    "features": [words(8), words(9)],
                    "description": [words(20)],
                    "store": "ABC"[n % 3],
                    "details": {"Brand": "x"},
                    "parent_asin": f"B01{n:05d}",
                }
                for n in range(60)
            ),
        },
        [
            "documents meta_Beauty.jsonl id=parent_asin segment=main_category text=title+features+description title=title",
            "interactions Beauty.jsonl document=parent_asin time=timestamp user=user_id value=rating",
        ],
    ),
    "events of visitors": Case(
        {
            "events.csv": rows(
                "timestamp visitorid event itemid transactionid",
                [[1433221332117 + n, 257597 + n % 40, ("view", "addtocart")[n % 2], 355908 + n % 40, ""] for n in range(120)],
            ),
            "items.csv": rows("itemid name category", [[355908 + n, words(4), "ABC"[n % 3]] for n in range(40)]),
        },
        [
            "documents items.csv id=itemid segment=category text=name+category title=name",
            "interactions events.csv document=itemid time=timestamp user=visitorid",
        ],
        notes=["event of events.csv is a word and is not used"],
    ),
    "invoices": Case(
        {
            "retail.csv": rows(
                "InvoiceNo StockCode Description Quantity InvoiceDate UnitPrice CustomerID Country",
                [
                    [
                        536365 + n // 5,
                        PRODUCTS[n * 7 % 40][0],
                        PRODUCTS[n * 7 % 40][1],
                        6,
                        "2010-12-01 08:26:00",
                        2.55,
                        17850 + n // 9,
                        "UK",
                    ]
                    for n in range(150)
                ],
            )
        },
        [
            "documents retail.csv* id=StockCode text=Description",
            "interactions retail.csv document=StockCode time=InvoiceDate user=CustomerID value=Quantity",
        ],
        "one table of documents and interactions",
    ),
    "times as people write them": Case(
        {
            "clicks.csv": rows("uid iid ts", [[n % 20, n % 40, "12/1/2010 8:26"] for n in range(100)]),
            "things.csv": rows("iid caption", [[n, words(6)] for n in range(40)]),
        },
        ["documents things.csv id=iid text=caption title=caption", "interactions clicks.csv document=iid time=ts user=uid"],
        notes=["Times such as 12/1/2010 8:26 in ts can't be read"],
    ),
    "ratings without a time": Case(
        {
            "ratings.csv": rows("user_id book_id rating", [row[:3] for row in RATINGS]),
            "books.csv": rows("book_id title authors average_rating", [[n, words(4), "Some One", 4.3] for n in range(1, 41)]),
        },
        ["documents books.csv id=book_id text=title title=title"],
        notes=["without a time, by which the next item is told; --column interactions.time=COLUMN"],
    ),
    "three hundred columns": Case(
        {
            "wide.csv": rows(
                " ".join(["id", "name", *(f"attr_{n}" for n in range(300)), "description"]),
                [[n, words(3), *(n * place % 17 for place in range(300)), words(20)] for n in range(40)],
            )
        },
        ["documents wide.csv id=id text=name+description title=name"],
    ),
    "empty columns, and a file of nothing": Case(
        {
            "p.csv": rows("id title text spare more", [[n, words(3), words(20), "", ""] for n in range(40)]),
            "void.csv": "id,title\n,\n,\n",
        },
        ["documents p.csv id=id text=title+text title=title"],
    ),
    "a file that the user gives for a role": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "list.csv": rows("n what", [[n, words(3)] for n in range(20)]),
            "sheet.csv": rows("n sku ok", judged(query=lambda n: n % 20)),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels sheet.csv document=sku grade=ok query=n",
            "queries list.csv id=n text=what",
        ],
        roles={"list.csv": "queries", "sheet.csv": "qrels"},
    ),
    "columns that the user names": Case(
        {
            "products.csv": rows(
                "sku ean name description brand price", [[row[0], 4000 + n, *row[1:]] for n, row in enumerate(PRODUCTS)]
            )
        },
        ["documents products.csv id=ean known=name text=brand+description title=brand"],
        columns=("id=ean", "text=brand", "text=description", "title=brand", "segment=", "known=name"),
    ),
    "no ids, because the user says so": Case(
        {"products.csv": PRODUCTS_CSV},
        ["documents products.csv id= known=name segment=brand text=description title=name"],
        columns=("id=", "known=name"),
    ),
    "columns of judgments that the user names": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "sheet.csv": rows(
                "phrase thing verdict other", [[*row, 1] for row in judged(grade=lambda n: ("meh", "wow")[n % 2])]
            ),
        },
        [
            "documents products.csv id=sku segment=brand text=name+description title=name",
            "qrels sheet.csv document=thing grade=verdict query_text=phrase",
            "queries sheet.csv* id= text=phrase",
        ],
        columns=("qrels.query_text=phrase", "qrels.document=thing", "qrels.grade=verdict"),
        grades="meh,wow",
    ),
}

REFUSED = {
    "ids for keys": Case(
        {
            "corpus.jsonl": lines({"id": f"d{n}", "text": words(30)} for n in range(40)),
            "queries.json": json.dumps({f"q{n}": words(4) for n in range(20)}, indent=1),
            "qrels.json": json.dumps({f"q{n}": {f"d{n}": 1, f"d{n + 1}": 0} for n in range(20)}, indent=1),
        },
        [],
        notes=["qrels.json, which is called as judgments are", "a row for each judgment"],
    ),
    "queries alone": Case(
        {"queries.csv": rows("query_id query", [[n, words(3)] for n in range(20)])},
        [],
        notes=["no documents in queries.csv (queries: query_id, query)", "add that file"],
    ),
    "judgments alone": Case(
        {"rated.csv": rows("query docid rating", judged())}, [], notes=["no documents in rated.csv (judgments:"]
    ),
    "reviews without products": Case(
        {
            "reviews.json": lines(
                {
                    "reviewerID": f"A{n % 30}X",
                    "asin": f"B{n // 6:05d}",
                    "reviewText": words(40),
                    "overall": 5.0,
                    "unixReviewTime": 1252800000 + n,
                }
                for n in range(120)
            )
        },
        [],
        notes=["no documents in reviews.json (interactions:"],
    ),
    "grades in no order that is known": Case(
        {
            "products.csv": PRODUCTS_CSV,
            "judged.csv": rows("query sku grade", judged(grade=lambda n: ("meh", "wow", "nope")[n % 3])),
        },
        [],
        notes=["judged.csv, column grade: grades meh, nope, wow", "--grades worst,…,best"],
    ),
    "judgments of queries that are nowhere": Case(
        {"products.csv": PRODUCTS_CSV, "qrels.csv": rows("query_id sku grade", judged(query=lambda n: f"t{n // 8}"))},
        [],
        notes=["names queries by ids, and no file has their texts", "--queries FILE"],
    ),
    "a column that is not there": Case(
        {"products.csv": PRODUCTS_CSV},
        [],
        notes=["sku, name, description, brand, price", "perhaps --column id=sku"],
        columns=("id=skuu",),
    ),
    "a column of a role that is not there": Case(
        {"products.csv": PRODUCTS_CSV}, [], notes=["no file is taken for interactions"], columns=("value=price",)
    ),
    "judgments that a table of products is not": Case(
        {"products.csv": PRODUCTS_CSV},
        [],
        notes=["without a column of query ids", "--column qrels.query=COLUMN"],
        columns=("qrels.grade=price",),
    ),
    "a file that is not there": Case(
        {"products.csv": PRODUCTS_CSV},
        [],
        notes=["other.csv as qrels", "one of the files: products.csv"],
        roles={"other.csv": "qrels"},
    ),
    "interactions without a time": Case(
        {
            "ratings.csv": rows("user_id book_id rating", [row[:3] for row in RATINGS]),
            "books.csv": rows("book_id title", [[n, words(4)] for n in range(40)]),
        },
        [],
        notes=["without a time, columns user_id, book_id, rating", "--column interactions.time=COLUMN"],
        columns=("interactions.user=user_id",),
    ),
    "grades that are no scale": Case({"products.csv": PRODUCTS_CSV}, [], notes=["--grades 'best'"], grades="best"),
    "nothing in any row": Case({"void.csv": "id,title\n,\n"}, [], notes=["no row that could be read in void.csv"]),
}
