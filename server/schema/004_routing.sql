-- Where a link leads whom: rules, UTM parameters, life, and what a domain says for its links.
--
-- `sync` compiles a link from its own row and from those of its campaign, influencer, their profile
-- and code. A change of one of the latter touches the links that are made of it (triggers
-- touch_links), so that it is found like any change of a link. A domain's settings are looked up
-- when somebody clicks; a change there rewrites no link.

-- Links ------------------------------------------------------------------------------------------

-- Stored with the row, so that reading ten million links need not look into each.
create function kudos.names_code(destination text, fallback text, rules jsonb, utm jsonb)
returns boolean language sql immutable as $$
    select strpos(destination, '{code}') > 0
        or coalesce(strpos(fallback, '{code}') > 0, false)
        or coalesce(strpos(rules::text, '{code}') > 0, false)
        or coalesce(strpos(utm::text, '{code}') > 0, false)
$$;
comment on function kudos.names_code(text, text, jsonb, jsonb) is
    'Whether {code} stands in what a link is compiled from.';

alter table kudos.links
    alter column redirect_status drop not null,
    alter column redirect_status drop default,
    alter column click_id drop not null,
    alter column click_id drop default,
    add column rules jsonb
        check (jsonb_typeof(rules) = 'array' and octet_length(rules::text) <= 65536),
    add column utm jsonb
        check (jsonb_typeof(utm) = 'object' and octet_length(utm::text) <= 4096),
    add column max_clicks bigint check (max_clicks > 0),
    add column used_up boolean not null default false;
alter table kudos.links
    add column names_code boolean not null
        generated always as (kudos.names_code(destination, fallback, rules, utm)) stored;
create index links_limited on kudos.links (id) where max_clicks is not null and not used_up;
comment on column kudos.links.redirect_status is
    'HTTP status of the redirect: 301, 302, 307 or 308; null: the domain''s.';
comment on column kudos.links.click_id is
    'Whether the click id is added to the destination; null: as the domain says.';
comment on column kudos.links.destination is
    'Where visitors go unless a rule says otherwise: an absolute http or https URL, normalised, perhaps with placeholders such as {handle}.';
comment on column kudos.links.fallback is
    'Where visitors of an expired or used up link go; null: to the domain''s fallback, if it has one, else 410.';
comment on column kudos.links.expires_at is
    'From then on it leads to the fallback, or answers 410; null: never.';
comment on column kudos.links.rules is
    'Routing rules, the first that matches wins (server/links/README.md); null: none.';
comment on column kudos.links.utm is
    'UTM parameters {"source", "medium", "campaign", "content", "term"} that override the campaign''s one by one (null takes one out); null: the campaign''s.';
comment on column kudos.links.max_clicks is
    'Number of human clicks after which the link is used up; null: no limit.';
comment on column kudos.links.names_code is
    'Whether {code} stands in its own columns: then, or if its campaign''s UTM parameters hold it, sync looks up the code.';
comment on column kudos.links.used_up is
    'Whether max_clicks is reached. Set by flush, and by trigger when max_clicks changes.';

-- Campaigns and influencers ----------------------------------------------------------------------

alter table kudos.campaigns
    add column utm jsonb
        check (jsonb_typeof(utm) = 'object' and octet_length(utm::text) <= 4096);
alter table kudos.campaigns
    add column names_code boolean not null
        generated always as (coalesce(strpos(utm::text, '{code}') > 0, false)) stored;
comment on column kudos.campaigns.names_code is 'Whether {code} stands in its UTM parameters.';
comment on column kudos.campaigns.utm is
    'UTM parameters {"source", "medium", "campaign", "content", "term"} of the campaign''s links; values may hold {handle}, {code}, {campaign}, {slug}; null: none.';

create table kudos.influencer_profiles (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    influencer_id bigint not null,
    platform text not null check (platform <> '' and octet_length(platform) <= 64),
    url text not null check (url <> '' and octet_length(url) <= 2048),
    followers bigint check (followers >= 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (influencer_id, platform, url),
    foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id)
);
create index influencer_profiles_workspace on kudos.influencer_profiles (workspace_id);
comment on table kudos.influencer_profiles is
    'Where influencers publish. The one with the most followers is shown where a link is previewed.';
comment on column kudos.influencer_profiles.id is 'Identity of the profile.';
comment on column kudos.influencer_profiles.workspace_id is 'The workspace that works with the influencer.';
comment on column kudos.influencer_profiles.influencer_id is 'Whose profile it is.';
comment on column kudos.influencer_profiles.platform is 'Name of the platform, in lower case: instagram, youtube, …';
comment on column kudos.influencer_profiles.url is 'Address of the profile: an absolute http or https URL.';
comment on column kudos.influencer_profiles.followers is 'How many follow it, as last known; null: unknown.';
comment on column kudos.influencer_profiles.created_at is 'When it was entered.';
comment on column kudos.influencer_profiles.updated_at is 'When the entry last changed.';

-- Domains ----------------------------------------------------------------------------------------

alter table kudos.domains
    add column redirect_status smallint not null default 302
        check (redirect_status in (301, 302, 307, 308)),
    add column click_id boolean not null default true,
    add column root_destination text check (octet_length(root_destination) between 1 and 4096),
    add column not_found_destination text
        check (octet_length(not_found_destination) between 1 and 4096),
    add column fallback text check (octet_length(fallback) between 1 and 4096),
    add column app_site_association jsonb
        check (octet_length(app_site_association::text) <= 32768),
    add column assetlinks jsonb check (octet_length(assetlinks::text) <= 32768);
comment on column kudos.domains.redirect_status is
    'HTTP status of redirects of links that have none of their own: 301, 302, 307 or 308.';
comment on column kudos.domains.click_id is
    'Whether the click id is added to destinations of links that do not say themselves.';
comment on column kudos.domains.root_destination is 'Where "/" leads; null: 404.';
comment on column kudos.domains.not_found_destination is 'Where unknown slugs lead; null: 404.';
comment on column kudos.domains.fallback is
    'Where visitors of expired or used up links go that have no fallback of their own; null: 410.';
comment on column kudos.domains.app_site_association is
    'What is served as /.well-known/apple-app-site-association; null: 404.';
comment on column kudos.domains.assetlinks is
    'What is served as /.well-known/assetlinks.json; null: 404.';

-- Salts of visitor values ------------------------------------------------------------------------

-- Unlogged: not in the write-ahead log, so in no backup and on no standby. A crash empties it; sync
-- then puts back what its replica holds.
create unlogged table kudos.visitor_salts (
    day date primary key,
    salt bytea not null check (octet_length(salt) = 16),
    created_at timestamptz not null default now()
);
comment on table kudos.visitor_salts is
    'Random salts that visitor values are made with, one for each day (UTC). Made two days ahead, deleted 48 hours after the day; then nobody can tell any more whose value it was.';
comment on column kudos.visitor_salts.day is 'The day (UTC).';
comment on column kudos.visitor_salts.salt is '16 random bytes.';
comment on column kudos.visitor_salts.created_at is 'When it was made.';
revoke all on kudos.visitor_salts from public;

-- Triggers ---------------------------------------------------------------------------------------

create function kudos.human_clicks(link bigint) returns bigint
language sql stable as $$
    select coalesce(sum(human), 0)::bigint from kudos.clicks_hourly where link_id = link
$$;
comment on function kudos.human_clicks(bigint) is 'Human clicks of a link that flush has stored.';

create or replace function kudos.links_before_write() returns trigger
language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.slug is distinct from old.slug
       or new.domain_id is distinct from old.domain_id
       or new.slug_key is distinct from old.slug_key then
        -- The lock makes a change of case_sensitive wait for this link, and the other way round.
        select case when case_sensitive then new.slug else lower(new.slug collate "C") end
          into new.slug_key
          from kudos.domains where id = new.domain_id for share;
        if not found then
            new.slug_key := new.slug; -- the foreign key says what is wrong
        end if;
    end if;
    if tg_op = 'UPDATE' then
        -- Touched by another table's trigger, or used up: nobody changed the link itself.
        if new.changed = old.changed and new.used_up = old.used_up then
            new.updated_at := now();
        end if;
        if new.max_clicks is distinct from old.max_clicks then
            new.used_up := new.max_clicks is not null
                           and kudos.human_clicks(new.id) >= new.max_clicks;
        end if;
    end if;
    new.changed := pg_current_xact_id();
    return new;
end
$$;
comment on function kudos.links_before_write() is
    'Sets slug_key, updated_at and changed of a link, and used_up when max_clicks changes.';

create function kudos.mark_used_up(links bigint[]) returns bigint
language plpgsql as $$
declare
    marked bigint;
begin
    -- A link that somebody is changing is left to the next click.
    with due as (
        select l.id from kudos.links l
        where l.max_clicks is not null and not l.used_up and l.id = any (links)
          and kudos.human_clicks(l.id) >= l.max_clicks
        for no key update skip locked)
    update kudos.links l set used_up = true from due where l.id = due.id;
    get diagnostics marked = row_count;
    if marked > 0 then
        notify kudos_links;
    end if;
    return marked;
end
$$;
comment on function kudos.mark_used_up(bigint[]) is
    'Marks those of these links whose stored human clicks have reached max_clicks; how many.';

create function kudos.touch_links() returns trigger
language plpgsql as $$
declare
    -- Of the row before and after the change; a profile or code may move to somebody else.
    influencers bigint[];
    campaigns bigint[];
begin
    if tg_table_name = 'campaigns' then
        update kudos.links set changed = pg_current_xact_id()
        where campaign_id = new.id and state <> 'archived';
        return null;
    end if;
    if tg_table_name = 'influencers' then
        influencers := array[new.id];
    else
        if tg_op <> 'INSERT' then
            influencers := array[old.influencer_id];
        end if;
        if tg_op <> 'DELETE' then
            influencers := influencers || new.influencer_id;
        end if;
    end if;
    if tg_table_name <> 'codes' then
        update kudos.links set changed = pg_current_xact_id()
        where influencer_id = any (influencers) and state <> 'archived';
        return null;
    end if;
    if tg_op <> 'INSERT' then
        campaigns := array[old.campaign_id];
    end if;
    if tg_op <> 'DELETE' then
        campaigns := campaigns || new.campaign_id;
    end if;
    update kudos.links l set changed = pg_current_xact_id()
    from kudos.campaigns c
    where l.influencer_id = any (influencers) and l.campaign_id = any (campaigns)
      and c.id = l.campaign_id and l.state <> 'archived'
      and (l.names_code or c.names_code);
    return null;
end
$$;
comment on function kudos.touch_links() is
    'Has sync compile the links anew that are made of a changed campaign, influencer, profile or code. Archived ones wait until they are brought back.';

create trigger touch_links after update of slug, name, utm on kudos.campaigns
    for each row when ((old.slug, old.name, old.utm) is distinct from (new.slug, new.name, new.utm))
    execute function kudos.touch_links();
create trigger touch_links after update of handle, name on kudos.influencers
    for each row when ((old.handle, old.name) is distinct from (new.handle, new.name))
    execute function kudos.touch_links();
create trigger touch_links after insert or delete or update of influencer_id, url, followers
    on kudos.influencer_profiles for each row execute function kudos.touch_links();
create trigger touch_links after insert or delete or update of campaign_id, influencer_id, code
    on kudos.codes for each row execute function kudos.touch_links();
