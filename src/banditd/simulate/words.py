"""The vocabulary of the template grammars: slot name to its entries. Data only."""

# ruff: noqa: E501, ISC004 -- entries are sentences: one per line reads best

from __future__ import annotations

from banditd.simulate.grammar import Slots

SLOTS: Slots = {
    # ---- chat
    "small_talk": (
        "How was your day? Mine was {feeling}.",
        "It has been raining here for {number:2:9} days. Cheer me up!",
        "I just came back from {place}. Have you ever heard of the {ingredient} they serve there?",
        "I cannot sleep. Tell me a calm story about {place}.",
        "Do you think people will still like {interest} in fifty years?",
    ),
    "feeling": ("tired", "proud", "a bit lost", "anxious", "happy", "lonely", "restless", "curious"),
    "life_event": (
        "I moved to {place}", "my best friend left", "I changed my job", "the flood", "the strike",
        "our main supplier failed", "the baby came", "I started to learn {interest}",
    ),
    "cook_verb": ("cook", "bake", "grill", "prepare for guests"),
    "ingredient": (
        "lentils", "aubergine", "rice", "salmon", "feta", "chickpeas", "mushrooms", "pears", "walnuts",
        "spinach", "tofu", "ginger", "barley",
    ),
    "medium": ("a novel", "a film", "a board game", "a podcast", "an album", "a documentary"),
    "interest": (
        "astronomy", "gardening", "chess", "jazz", "mountain hiking", "old maps", "pottery", "sailing",
        "birds", "cycling", "medieval history", "sourdough",
    ),
    "relative": ("mother", "nephew", "grandfather", "sister", "neighbour", "boss"),
    "place": ("Lisbon", "Kyoto", "Oaxaca", "Tromsø", "Marrakesh", "Tallinn", "Valparaíso", "Ghent"),
    "age_group": ("child of six", "teenager", "retired teacher", "new colleague"),
    # ---- code
    "language": ("Python", "Go", "Rust", "TypeScript", "Java", "C++", "Kotlin"),
    "code_task": (
        "merges overlapping intervals", "parses an ISO 8601 duration", "flattens a nested dictionary",
        "implements a least-recently-used cache", "finds the longest palindromic substring",
        "streams a CSV file and sums one column", "retries an HTTP call with exponential back-off",
        "topologically sorts a dependency graph", "detects a cycle in a linked list",
    ),
    "exception": ("KeyError: 'id'", "IndexError", "a TypeError", "RecursionError", "a deadlock", "UnboundLocalError"),
    "code_quality": ("readable", "free of global state", "asynchronous", "testable", "twice as fast", "idiomatic"),
    "test_tool": ("pytest", "unittest", "hypothesis"),
    "sql_thing": ("the median order value", "the retention rate", "the top three products", "failed logins"),
    "sql_group": ("customer", "region", "warehouse", "week", "device type"),
    "verb_name": ("load_items", "merge_rows", "resolve", "compute_totals", "walk_tree", "parse_header"),
    "argument": ("items", "rows", "payload", "root", "stream"),
    "argument_two": ("limit=10", "key=None", "*, strict=False", "seen={}", "timeout_s=3.0"),
    "code_line": (
        "result = [row['{field}'] for row in items if row.get('{field}')]",
        "while index < len(rows): index += {number:1:3}",
        "with lock: cache[key] = compute(value, depth - 1)",
        "total = sum(x ** 2 for x in values) / max(1, len(values))",
        "if node is None or node.left is None: return default",
        "for i, (a, b) in enumerate(zip(left, right)): out[i] = a - b",
        "return json.loads(response.text)['{field}'][{number:0:4}]",
        "seen.add(hash(tuple(sorted(payload.items()))))",
    ),
    # ---- maths
    "function": (
        "x^{number:2:7} * e^(-{number:2:9}x)", "sin({number:2:9}x) / (1 + x^2)", "ln(x^2 + {number:1:30})",
        "sqrt({number:1:9}x + {number:1:9})", "x * arctan({number:2:6}x)",
    ),
    "event": (
        "all have the same colour", "exactly {number:1:3} are red", "at least one is blue",
        "red and blue alternate",
    ),
    "theorem": (
        "the square root of {number:2:9}7 is irrational", "there are infinitely many primes of the form 4k + 3",
        "every connected graph has a spanning tree", "n^{number:3:7} - n is even for every integer n",
        "a continuous function on a closed interval attains its maximum",
    ),
    # ---- extraction and records
    "field": ("name", "invoice_number", "email", "amount", "due_date", "city", "sku", "phone", "status", "iban"),
    "person": (
        "Ines Pereira", "Tomasz Nowak", "Aiko Mori", "Lena Vogt", "Omar Haddad", "Grace Achieng", "Luca Ferri",
    ),
    "record": (
        "Invoice {number:10000:99999} to {person}, {place}: {number:20:9000}.{number:10:99} EUR, due {number:1:28} "
        "{month} {number:2023:2027}.",
        "{person} <{number:100:999}@mail.example> ordered {number:1:40} x SKU-{number:1000:9999} on "
        "{number:1:12}/{number:1:28}.",
        "Call from +{number:10:99} {number:100:999} {number:1000:9999}: {person} asks about ticket "
        "#{number:1000:9999} ({status}).",
        "{month} {number:1:28}: transfer of ${number:100:9999} from {person}, reference {number:100000:999999}.",
    ),
    "month": ("January", "March", "April", "June", "August", "October", "December"),
    "status": ("open", "refunded", "waiting for parts", "escalated", "closed"),
    # ---- translation
    "target_language": ("German", "French", "Spanish", "Portuguese", "Japanese", "Polish", "Dutch"),
    "register": ("legal", "young", "medical", "general", "business"),
    "german_sentence": (
        "Der Zug nach Freiburg hat leider eine halbe Stunde Verspätung.",
        "Bitte schicken Sie mir die Unterlagen bis spätestens Freitagmittag.",
        "Wer den Pfennig nicht ehrt, ist des Talers nicht wert.",
        "Die Prüfung ergab keine Mängel, dennoch empfehlen wir eine Wartung.",
        "Gestern Abend haben wir am Fluss gesessen und über alte Zeiten geredet.",
        "Können Sie mir sagen, wo ich hier ein Fahrrad mieten kann?",
    ),
    "french_sentence": (
        "Le rendez-vous est reporté à mardi prochain, à la même heure.",
        "Il ne faut pas vendre la peau de l'ours avant de l'avoir tué.",
        "Nous vous remercions de votre patience et restons à votre disposition.",
        "Les travaux de la place commenceront dès que la neige aura fondu.",
        "Je cherche une petite maison avec un jardin, près de la mer.",
    ),
    "spanish_sentence": (
        "El contrato entrará en vigor el primero de septiembre.",
        "Más vale pájaro en mano que ciento volando.",
        "¿Podría indicarme dónde está la estación de autobuses?",
        "La cosecha de este año fue mejor de lo que esperábamos.",
        "Llegamos tarde porque la carretera estaba cortada por la nieve.",
    ),
    # ---- summarising
    "company": ("Northwind", "Aldera", "Brightwater", "Kestrel Labs", "Tamarind Foods", "Polaris Freight"),
    "metric": ("revenue", "churn", "energy use", "delivery time", "staff turnover", "net promoter score"),
    "report_sentence": (
        "{company} reported that {metric} changed by {number:2:40} percent in the {quarter} quarter.",
        "The committee criticised the {department} department for incomplete records.",
        "According to the survey of {number:200:9000} households, {metric} matters more than price.",
        "Analysts expect {metric} to recover once the {project} is complete.",
        "Three of the {number:5:20} sites in {place} failed the inspection, mostly for missing documents.",
        "A spokesperson for {company} declined to comment on the delay.",
        "Costs rose to {number:2:80} million dollars, {number:1:9} million above plan.",
        "The report recommends a second review before {month} and a limit on new contracts.",
    ),
    "quarter": ("first", "second", "third", "fourth"),
    "profession": ("nurse", "lawyer", "pilot", "manager", "engineer", "baker", "teacher"),
    # ---- classification
    "department": ("billing", "shipping", "legal", "support", "human resources", "procurement"),
    "label": ("complaint", "praise", "question", "order", "cancellation", "bug report", "advertisement"),
    "product": ("blender", "hotel room", "headset", "delivery app", "winter jacket", "insurance plan"),
    "review_sentence": (
        "The {product} broke after {number:2:20} days and nobody answers my mails.",
        "Honestly the best {product} I ever had, my {relative} bought one too.",
        "Great, another {product} that needs {number:2:9} updates before it starts.",
        "Works as described, though the {product} is louder than I hoped.",
        "Congratulations, you have won a {product}! Confirm your card number now.",
        "I was charged twice for the {product} and want my money back.",
    ),
    # ---- planning
    "project": (
        "a company retreat in {place}", "the office move", "a product launch", "a charity run",
        "the migration to a new warehouse system", "a community library",
    ),
    "option": ("leasing", "buying", "outsourcing", "hiring two juniors", "doing nothing", "building it ourselves"),
    "puzzle_clue": (
        "The {profession} is not next to the {profession}.",
        "The one who likes {interest} sits left of the {profession}.",
        "Exactly one person both likes {interest} and drinks tea.",
        "The {profession} sits at one end.",
    ),
    "job_list": ("A takes {number:2:9} h, B {number:2:9} h after A, C {number:2:9} h, D {number:2:9} h after B and C",),
}  # fmt: skip
