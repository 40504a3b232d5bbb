-- Lists of many million links: a page of any filter is read out of an index in the order of the list.

create index links_domain_id on kudos.links (domain_id, id);

-- Tags --------------------------------------------------------------------------------------------
-- An index on the arrays has no order: of a tag that many links have, all had to be read and sorted.

create table kudos.link_tags (
  workspace_id bigint not null,
  tag text not null,
  link_id bigint not null,
  primary key (workspace_id, tag, link_id)
);
comment on table kudos.link_tags is
  'The tags of links, one a row, as lists look for them. Kept equal to kudos.links.tags by the triggers tag; links are never deleted.';
comment on column kudos.link_tags.workspace_id is 'The workspace of the link.';
comment on column kudos.link_tags.tag is 'One of its tags.';
comment on column kudos.link_tags.link_id is 'The link.';

create function kudos.tag_link() returns trigger
  language plpgsql
  set search_path to ''
as $$
begin
  if tg_op = 'UPDATE' then
    delete from kudos.link_tags x
     where x.workspace_id = old.workspace_id and x.link_id = old.id and x.tag = any (old.tags);
  end if;
  insert into kudos.link_tags (workspace_id, tag, link_id)
  select distinct new.workspace_id, t, new.id from unnest(new.tags) t;
  return null;
end
$$;
comment on function kudos.tag_link() is 'Keeps kudos.link_tags equal to the tags of a link.';

-- Nothing is called for links without tags, which most are.
create trigger tag_made after insert on kudos.links
    for each row when (new.tags <> '{}') execute function kudos.tag_link();
create trigger tag_changed after update of tags, workspace_id on kudos.links
    for each row when (old.tags <> new.tags or old.workspace_id <> new.workspace_id)
    execute function kudos.tag_link();

insert into kudos.link_tags (workspace_id, tag, link_id)
select distinct l.workspace_id, t, l.id from kudos.links l, unnest(l.tags) t where l.tags <> '{}';

drop index kudos.links_tags;

-- What a filter names -----------------------------------------------------------------------------
-- Being stable functions they are called already when a list is planned, which is therefore planned for
-- the number of links that this domain, campaign or influencer has, and not for the average one. They
-- are in plpgsql since one in SQL would be put in place as a subquery, which is not looked into.

create function kudos.domain_named(host text) returns bigint
  language plpgsql stable
  set search_path to ''
as $$
begin
  return (select d.id from kudos.domains d where d.host = lower(domain_named.host));
end
$$;
comment on function kudos.domain_named(text) is 'The domain with this host; null: there is none.';

create function kudos.campaign_named(workspace bigint, id bigint, slug text) returns bigint
  language plpgsql stable
  set search_path to ''
as $$
begin
  if campaign_named.id is not null then
    return (select c.id from kudos.campaigns c where c.workspace_id = workspace
               and c.id = campaign_named.id);
  end if;
  return (select c.id from kudos.campaigns c where c.workspace_id = workspace
             and c.slug = campaign_named.slug);
end
$$;
comment on function kudos.campaign_named(bigint, bigint, text) is
  'The campaign of a workspace with this id or, if that is null, this slug; null: there is none.';

create function kudos.influencer_named(workspace bigint, id bigint, handle text) returns bigint
  language plpgsql stable
  set search_path to ''
as $$
begin
  if influencer_named.id is not null then
    return (select i.id from kudos.influencers i where i.workspace_id = workspace
               and i.id = influencer_named.id);
  end if;
  return (select i.id from kudos.influencers i where i.workspace_id = workspace
             and lower(i.handle) = lower(influencer_named.handle));
end
$$;
comment on function kudos.influencer_named(bigint, bigint, text) is
  'The influencer of a workspace with this id or, if that is null, this handle; null: there is none.';
