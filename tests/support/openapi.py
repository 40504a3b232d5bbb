"""Checks an OpenAPI 3.1 document for its structure (Debian has no validator of 3.1), and values
against its schemas, as far as the admin plane uses them."""

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
         "integer": int, "number": (int, float)}
KEYWORDS = {"type", "properties", "required", "items", "enum", "oneOf", "$ref", "description",
            "format", "minimum", "maximum", "maxLength", "additionalProperties", "default",
            "maxItems"}


def resolve(document, schema):
    """What a $ref points to."""
    while "$ref" in schema:
        assert schema["$ref"].startswith("#/"), schema
        found = document
        for part in schema["$ref"][2:].split("/"):
            found = found[part]
        schema = found
    return schema


def check_schema(document, schema):
    """That it is a schema, and all that it refers to is there."""
    assert isinstance(schema, dict) and set(schema) <= KEYWORDS, schema
    if "$ref" in schema:
        resolve(document, schema)
    types = schema.get("type", [])
    for each in [types] if isinstance(types, str) else types:
        assert each in TYPES, schema
    for each in schema.get("oneOf", []) + [schema[name] for name in ("items",) if name in schema]:
        check_schema(document, each)
    properties = schema.get("properties", {})
    for each in properties.values():
        check_schema(document, each)
    assert set(schema.get("required", [])) <= set(properties), schema
    if "enum" in schema:
        assert schema["enum"] and len(schema["enum"]) == len(set(schema["enum"])), schema


def matches(document, schema, value):
    """None if the value fits the schema, else what does not."""
    schema = resolve(document, schema)
    if "oneOf" in schema:
        fitting = [each for each in schema["oneOf"] if matches(document, each, value) is None]
        return None if len(fitting) == 1 else f"{value!r} fits {len(fitting)} of {schema['oneOf']}"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(isinstance(value, TYPES[each])
                         and not (isinstance(value, bool) and each in ("integer", "number"))
                         for each in types):
        return f"{value!r} is no {types}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        missing = set(schema.get("required", [])) - set(value)
        if missing:
            return f"{missing} missing in {value!r}"
        if schema.get("additionalProperties") is False and set(value) - set(schema["properties"]):
            return f"too much in {value!r}"
        for name, each in schema.get("properties", {}).items():
            wrong = name in value and matches(document, each, value[name])
            if wrong:
                return f"{name}: {wrong}"
    if isinstance(value, list) and "items" in schema:
        for each in value:
            wrong = matches(document, schema["items"], each)
            if wrong:
                return wrong
    return None


def operations(document):
    """(method, path, operation) of all, in the order of the document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def check_parameters(document, path, operation):
    """Each parameter is described, those of the path are exactly its braces."""
    seen = set()
    for parameter in operation.get("parameters", []):
        assert parameter["in"] in ("path", "query", "header") and parameter["description"]
        assert parameter["in"] != "path" or parameter["required"] is True
        key = (parameter["in"], parameter["name"])
        assert key not in seen, (path, key)
        seen.add(key)
        check_schema(document, parameter["schema"])
    braces = {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert braces == {name for where, name in seen if where == "path"}, path


def check_document(document):
    """The whole of it."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] and document["info"]["version"]
    assert set(document) <= {"openapi", "info", "servers", "security", "paths", "components"}
    schemes = document["components"]["securitySchemes"]
    for schema in document["components"]["schemas"].values():
        check_schema(document, schema)
    names = set()
    for method, path, operation in operations(document):
        assert path.startswith("/") and method in ("GET", "POST", "PATCH", "DELETE", "PUT")
        assert operation["operationId"] not in names, operation["operationId"]
        names.add(operation["operationId"])
        assert operation["summary"]
        for requirement in operation.get("security", document["security"]):
            assert set(requirement) <= set(schemes)
        check_parameters(document, path, operation)
        assert operation["responses"]
        contents = [each["content"] for each in operation["responses"].values()
                    if "content" in each] + \
            [operation[name]["content"] for name in ("requestBody",) if name in operation]
        for response in operation["responses"].values():
            assert response["description"]
        for content in contents:
            for kind, media in content.items():
                assert "/" in kind
                check_schema(document, media["schema"])
                if "example" in media and kind == "application/json":
                    wrong = matches(document, media["schema"], media["example"])
                    assert wrong is None, (method, path, wrong)
