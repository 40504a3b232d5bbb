-- Clicks that links had before they came here, as another service counted them. Kept apart from what
-- was counted here: nobody can tell any more which of them were people.

create table kudos.imported_totals (
    link_id bigint primary key references kudos.links (id),
    workspace_id bigint not null references kudos.workspaces (id),
    source text not null check (octet_length(source) between 1 and 64),
    clicks bigint not null check (clicks >= 0),
    imported_at timestamptz not null default now()
);
create index imported_totals_workspace on kudos.imported_totals (workspace_id);
comment on table kudos.imported_totals is
    'Clicks of links before they were imported, as the service that had them counted.';
comment on column kudos.imported_totals.link_id is 'The link.';
comment on column kudos.imported_totals.workspace_id is 'The workspace that owns the link.';
comment on column kudos.imported_totals.source is 'Where it came from: bitly, yourls, kutt, shlink, dub, columns.';
comment on column kudos.imported_totals.clicks is 'Clicks that were counted there, as of the newest import.';
comment on column kudos.imported_totals.imported_at is 'When they were imported.';

create view report.imported_clicks as
select w.name as workspace,
       t.link_id,
       d.host as domain,
       l.slug,
       a.name as campaign,
       i.handle as influencer,
       t.source,
       t.clicks,
       l.created_at,
       t.imported_at
  from kudos.imported_totals t
  join kudos.workspaces w on w.id = t.workspace_id
  join kudos.links l on l.id = t.link_id
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id;
comment on view report.imported_clicks is
    'One row per imported link: the clicks that it had elsewhere. They are in no other view; people, robots and previews are not told apart in them.';
comment on column report.imported_clicks.workspace is 'The workspace that owns the link.';
comment on column report.imported_clicks.link_id is 'The link.';
comment on column report.imported_clicks.domain is 'Host of the short link.';
comment on column report.imported_clicks.slug is 'What stands behind its slash.';
comment on column report.imported_clicks.campaign is 'Its campaign; null: none.';
comment on column report.imported_clicks.influencer is 'Its influencer; null: none.';
comment on column report.imported_clicks.source is 'The service that counted: bitly, yourls, kutt, shlink, dub, or columns for another.';
comment on column report.imported_clicks.clicks is 'Clicks that were counted there.';
comment on column report.imported_clicks.created_at is 'When the link was made there, if its export said so.';
comment on column report.imported_clicks.imported_at is 'When the clicks were imported.';
grant select on all tables in schema report to kudos_analyst;
