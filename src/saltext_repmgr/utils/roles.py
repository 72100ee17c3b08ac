"""What a role of this extension must not have: attributes and memberships that amount to a superuser.

A role of the same name may have been there before. What it has beyond its work is told first and
taken away then.
"""

from saltext_repmgr.utils import db

# Members of these run programs or write files as the postgres user of the host.
_AS_GOOD_AS_SUPERUSERS = ("pg_execute_server_program", "pg_write_server_files")
_ATTRIBUTES = {
    "SUPERUSER": "rolsuper",
    "CREATEROLE": "rolcreaterole",
    "CREATEDB": "rolcreatedb",
    "BYPASSRLS": "rolbypassrls",
    "REPLICATION": "rolreplication",
}
_FOUND = f"""
SELECT {', '.join(f'a.{column}' for column in _ATTRIBUTES.values())},
       ARRAY(SELECT format('%%I', g.rolname)
                    || coalesce(format(' GRANTED BY %%I', b.rolname), '')
               FROM pg_auth_members m
               JOIN pg_roles g ON g.oid = m.roleid LEFT JOIN pg_roles b ON b.oid = m.grantor
              WHERE m.member = a.oid
                AND EXISTS (SELECT FROM pg_roles s
                             WHERE (s.rolsuper OR s.rolname = ANY (%(powerful)s))
                               AND pg_has_role(g.oid, s.oid, 'MEMBER'))
              ORDER BY 1)::text[] AS memberships
  FROM pg_roles a WHERE a.rolname = %(role)s
"""


def excess(connection, role, allowed=()):
    """Return what a role has and must not have, as a list of words; [] also where there is none.

    allowed
        Names of attributes that belong to its work.
    """
    attributes, memberships = _found(connection, role, allowed)
    return attributes + [f"membership in {m.partition(' GRANTED BY ')[0]}" for m in memberships]


def take_away(connection, role, allowed=()):
    """Take from a role what :func:`excess` found."""
    attributes, memberships = _found(connection, role, allowed)
    if attributes:
        db.run(connection, f"ALTER ROLE {role} {' '.join(f'NO{name}' for name in attributes)}")
    for membership in memberships:
        granted, by, grantor = membership.partition(" GRANTED BY ")
        db.run(connection, f"REVOKE {granted} FROM {role}{by}{grantor}")


def _found(connection, role, allowed):
    parameters = {"role": role, "powerful": list(_AS_GOOD_AS_SUPERUSERS)}
    found = db.rows(connection, _FOUND, parameters)
    if not found:
        return [], []
    attributes = [n for n, column in _ATTRIBUTES.items() if found[0][column] and n not in allowed]
    return attributes, found[0]["memberships"]
