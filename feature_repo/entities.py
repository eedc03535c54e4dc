"""What features are of."""

from feast import Entity, ValueType

document = Entity(
    name="document", join_keys=["document_id"], value_type=ValueType.STRING, description="A document of the corpus"
)
user = Entity(
    name="user", join_keys=["user_id"], value_type=ValueType.STRING, description="A user; in the server's log a pseudonym"
)
