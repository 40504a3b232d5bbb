-- Erasing somebody. A row in kudos.erasures is the erasure: its trigger removes what is known of the
-- subject wherever it may be, counts it, looks again, and forgets who it was.

alter table kudos.erasures
    drop column key_id,
    add column subject text,
    alter column kind drop not null,
    alter column erased drop not null,
    alter column remaining drop not null,
    add foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id);
comment on column kudos.erasures.subject is 'Always null: what is inserted here is erased, and so is it.';
create index conversions_customer on kudos.conversions (workspace_id, customer)
    where customer is not null;

-- The members of an influencer that are about the person.
create function kudos.personal_members() returns text[] language sql immutable as $$
    select array['name', 'email', 'contact', 'country', 'notes', 'profiles', 'author_credit']
$$;
comment on function kudos.personal_members() is 'Members of an influencer, and of posts, that an erasure empties.';

create function kudos.is_about(entry kudos.audit_log, workspace bigint, who bigint) returns boolean
language sql stable as $$
    select entry.workspace_id = workspace
       and (entry.before ?| kudos.personal_members() or entry.after ?| kudos.personal_members())
       and ((entry.resource = 'influencer' and entry.resource_id = who)
            or (entry.resource = 'post' and entry.resource_id in
                (select p.id from kudos.posts p where p.influencer_id = who)))
$$;
comment on function kudos.is_about(kudos.audit_log, bigint, bigint) is
    'Whether an entry of the audit log holds contact data of an influencer.';

create function kudos.erase_influencer(workspace bigint, who bigint, out erased jsonb, out remaining jsonb)
language plpgsql set search_path = '' as $$
declare
    known kudos.influencers;
    profiles bigint; log bigint; posts bigint; answers bigint; rows bigint;
begin
    select * into known from kudos.influencers i
     where i.workspace_id = workspace and i.id = who for update;
    update kudos.influencers i
       set name = '', email = null, contact = null, country = null, notes = null
     where i.workspace_id = workspace and i.id = who
       and (i.name <> '' or num_nonnulls(i.email, i.contact, i.country, i.notes) > 0);
    get diagnostics rows = row_count;
    delete from kudos.influencer_profiles p where p.influencer_id = who;
    get diagnostics profiles = row_count;
    update kudos.posts p set author_credit = null
     where p.influencer_id = who and p.author_credit is not null;
    get diagnostics posts = row_count;
    update kudos.audit_log a
       set before = a.before - kudos.personal_members(), after = a.after - kudos.personal_members()
     where kudos.is_about(a, workspace, who);
    get diagnostics log = row_count;
    delete from kudos.idempotency_keys k
     where k.workspace_id = workspace
       and ((k.answer ->> 'handle' = known.handle and k.answer ->> 'id' = who::text)
            or strpos(k.answer::text, known.email) > 0);
    get diagnostics answers = row_count;
    erased := jsonb_build_object('influencers', rows, 'influencer_profiles', profiles,
        'posts', posts, 'audit_log', log, 'idempotency_keys', answers);
    remaining := jsonb_build_object(
        'influencers', (select count(*) from kudos.influencers i
            where i.id = who
              and (i.name <> '' or num_nonnulls(i.email, i.contact, i.country, i.notes) > 0)),
        'influencer_profiles', (select count(*) from kudos.influencer_profiles p
            where p.influencer_id = who),
        'posts', (select count(*) from kudos.posts p
            where p.influencer_id = who and p.author_credit is not null),
        'audit_log', (select count(*) from kudos.audit_log a
            where kudos.is_about(a, workspace, who)),
        'idempotency_keys', (select count(*) from kudos.idempotency_keys k
            where k.workspace_id = workspace
              and (strpos(k.answer::text, known.email) > 0
                   or (k.answer ->> 'handle' = known.handle and k.answer ->> 'id' = who::text))));
end
$$;
comment on function kudos.erase_influencer(bigint, bigint) is
    'Removes an influencer''s contact data wherever they are; how many rows had some, and how many still have. Handle, links, codes and figures stay.';

create function kudos.erase_customer(workspace bigint, reference text, out erased jsonb, out remaining jsonb)
language plpgsql set search_path = '' as $$
declare
    hash bytea;
    conversions bigint; answers bigint;
begin
    select kudos.customer_hash(w.customer_salt, reference) into hash
      from kudos.workspaces w where w.id = workspace;
    update kudos.conversions c set customer = null, metadata = null
     where c.workspace_id = workspace and c.customer = hash;
    get diagnostics conversions = row_count;
    delete from kudos.idempotency_keys k
     where k.workspace_id = workspace and strpos(k.answer::text, reference) > 0;
    get diagnostics answers = row_count;
    erased := jsonb_build_object('conversions', conversions, 'idempotency_keys', answers);
    remaining := jsonb_build_object(
        'conversions', (select count(*) from kudos.conversions c
            where c.workspace_id = workspace and c.customer = hash),
        'idempotency_keys', (select count(*) from kudos.idempotency_keys k
            where k.workspace_id = workspace and strpos(k.answer::text, reference) > 0));
end
$$;
comment on function kudos.erase_customer(bigint, text) is
    'Removes a customer reference wherever it is; how many rows had it, and how many still have. The conversions stay, as nobody''s.';

create function kudos.erasures_before_insert() returns trigger
language plpgsql set search_path = '' as $$
begin
    if new.influencer_id is not null then
        new.kind := 'influencer';
        select e.erased, e.remaining into new.erased, new.remaining
          from kudos.erase_influencer(new.workspace_id, new.influencer_id) e;
    else
        new.kind := 'customer';
        select e.erased, e.remaining into new.erased, new.remaining
          from kudos.erase_customer(new.workspace_id, new.subject) e;
    end if;
    new.subject := null;
    return new;
end
$$;
comment on function kudos.erasures_before_insert() is 'Erases whom the row names, and forgets who it was.';
create trigger erase before insert on kudos.erasures
    for each row execute function kudos.erasures_before_insert();
