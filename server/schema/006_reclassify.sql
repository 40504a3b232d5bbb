-- Clicks by verdict and rule, unique visitors, and `kudos reclassify`: what an operator decided about
-- stored clicks afterwards.
--
-- A reclassification changes verdict and rule of stored clicks, moves them from one row of
-- clicks_hourly to another, and notes what each click was before, all in one transaction per step. A
-- step takes a place in the sequence of an origin of its own (kudos.reclassification_steps), whose
-- watermark it moves: to flush Redis is then behind PostgreSQL, and it recovers its totals, whatever
-- died in between.

create table kudos.reclassifications (
  id bigint generated always as identity primary key,
  asked text not null check (octet_length(asked) <= 4000),
  reason text not null check (reason <> '' and octet_length(reason) <= 400),
  undoes bigint references kudos.reclassifications (id),
  made_by text not null default session_user,
  began_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  clicks bigint not null default 0 check (clicks >= 0)
);
comment on table kudos.reclassifications is
  'Runs of kudos reclassify, each with what it was asked to do.';
comment on column kudos.reclassifications.id is 'Number of the run, for kudos reclassify --undo.';
comment on column kudos.reclassifications.asked is 'The options of the command.';
comment on column kudos.reclassifications.reason is 'Why, in the operator''s words.';
comment on column kudos.reclassifications.undoes is 'The run that this one takes back; null: none.';
comment on column kudos.reclassifications.made_by is 'The role that the command logged in as.';
comment on column kudos.reclassifications.began_at is 'When it began.';
comment on column kudos.reclassifications.ended_at is
  'When it was done; null: it is still at work or was interrupted. What it had changed by then stays; the same command goes on.';
comment on column kudos.reclassifications.clicks is 'Clicks that it has changed.';

create table kudos.reclassified (
  reclassification_id bigint not null references kudos.reclassifications (id),
  origin bigint not null,
  seq bigint not null,
  time timestamptz not null,
  link_id bigint not null,
  workspace_id bigint not null,
  verdict_before kudos.verdict not null,
  rule_before text,
  verdict kudos.verdict not null,
  rule text,
  primary key (reclassification_id, origin, seq)
);
comment on table kudos.reclassified is
  'Every click that was ever reclassified, with what it was before. Rows outlive the clicks themselves.';
comment on column kudos.reclassified.reclassification_id is 'The run.';
comment on column kudos.reclassified.origin is 'With seq, the identity of the click.';
comment on column kudos.reclassified.seq is 'With origin, the identity of the click.';
comment on column kudos.reclassified.time is 'Time of the click.';
comment on column kudos.reclassified.link_id is 'Its link.';
comment on column kudos.reclassified.workspace_id is 'The workspace that owned the link.';
comment on column kudos.reclassified.verdict_before is 'What it was.';
comment on column kudos.reclassified.rule_before is 'The rule that had decided so; null for a plain human.';
comment on column kudos.reclassified.verdict is 'What it became.';
comment on column kudos.reclassified.rule is 'The rule that is stored with it since.';

create table kudos.reclassification_steps (
  origin bigint not null,
  seq bigint not null check (seq > 0),
  partition smallint not null,
  reclassification_id bigint not null references kudos.reclassifications (id),
  clicks bigint not null check (clicks > 0),
  done_at timestamptz not null default clock_timestamp(),
  primary key (origin, seq)
);
comment on table kudos.reclassification_steps is
  'Transactions of reclassifications. Each is an event of an origin of its own, so that Redis is seen to lack it.';
comment on column kudos.reclassification_steps.origin is 'Stands for a journal: one for each partition.';
comment on column kudos.reclassification_steps.seq is 'Number of the step, from 1 without holes.';
comment on column kudos.reclassification_steps.partition is 'Pipeline partition whose counts it changed.';
comment on column kudos.reclassification_steps.reclassification_id is 'The run.';
comment on column kudos.reclassification_steps.clicks is 'Clicks that it changed.';
comment on column kudos.reclassification_steps.done_at is 'When.';
comment on column kudos.watermarks.applied is
  'Events stored: clicks, quarantined ones, notes of lost clicks and steps of reclassifications.';

create function kudos.review_used_up(links bigint[]) returns bigint
language plpgsql as $$
declare
    changed bigint;
begin
    with due as (
        select l.id, kudos.human_clicks(l.id) >= l.max_clicks as used_up from kudos.links l
        where l.max_clicks is not null and l.id = any (links)
        order by l.id for no key update)
    update kudos.links l set used_up = due.used_up from due
    where l.id = due.id and l.used_up <> due.used_up;
    get diagnostics changed = row_count;
    if changed > 0 then
        notify kudos_links;
    end if;
    return changed;
end
$$;
comment on function kudos.review_used_up(bigint[]) is
  'Decides anew which of these links have reached max_clicks, either way; how many changed.';

-- Views ------------------------------------------------------------------------------------------

-- The days that single clicks are there for. The views below look each day up by its limits, so that
-- only the partitions of the days that are asked for are read.
create view kudos.click_days as
with kept as (
  select to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'kudos.clicks'::regclass and c.relname ~ '^clicks_[0-9]{8}$'
   union
  select (time at time zone 'UTC')::date from kudos.clicks_default)
select distinct k.day + n.shift as day
  from kept k cross join (values (-1), (0), (1)) as n (shift); -- elsewhere it may be another day
comment on view kudos.click_days is 'Days, of any time zone, that may have rows in kudos.clicks.';
comment on column kudos.click_days.day is 'The day.';

create view report.filtered as
select w.name as workspace,
       n.day,
       a.name as campaign,
       i.handle as influencer,
       d.host as domain,
       l.slug,
       f.verdict,
       f.rule,
       f.clicks,
       f.link_id,
       f.campaign_id,
       f.influencer_id
  from kudos.workspaces w
 cross join kudos.click_days n
 cross join lateral (
    select c.link_id, c.campaign_id, c.influencer_id, c.verdict, c.rule, count(*) as clicks
      from kudos.clicks c
     where c.workspace_id = w.id and c.verdict <> 'human'
       and c.time >= n.day::timestamp at time zone w.time_zone
       and c.time < (n.day + 1)::timestamp at time zone w.time_zone
     group by 1, 2, 3, 4, 5) f
  left join kudos.links l on l.id = f.link_id
  left join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = f.campaign_id
  left join kudos.influencers i on i.id = f.influencer_id;
comment on view report.filtered is
  'How many clicks were left out of billable counts, by verdict and the rule that decided: per link and day. Give a range of days: only these are read. Goes back as far as single clicks are kept.';
comment on column report.filtered.workspace is 'The workspace that owned the link.';
comment on column report.filtered.day is 'Day in the workspace''s time zone.';
comment on column report.filtered.campaign is 'The link''s campaign at the time of the clicks; null: none.';
comment on column report.filtered.influencer is 'The link''s influencer at the time of the clicks; null: none.';
comment on column report.filtered.domain is 'Host of the short link.';
comment on column report.filtered.slug is 'What stands behind its slash.';
comment on column report.filtered.verdict is 'Why they are not counted: bot, preview, prefetch, datacenter, invalid, internal.';
comment on column report.filtered.rule is 'The rule that decided so; "decided: …" where an operator did, afterwards.';
comment on column report.filtered.clicks is 'How many clicks.';
comment on column report.filtered.link_id is 'The link.';
comment on column report.filtered.campaign_id is 'The campaign; null: none.';
comment on column report.filtered.influencer_id is 'The influencer; null: none.';

create view report.visitors_by_link as
select w.name as workspace,
       n.day,
       d.host as domain,
       l.slug,
       v.visitors,
       v.unidentified,
       v.human,
       v.link_id
  from kudos.workspaces w
 cross join kudos.click_days n
 cross join lateral (
    select c.link_id, count(distinct c.visitor) as visitors,
           count(*) filter (where c.visitor is null) as unidentified, count(*) as human
      from kudos.clicks c
     where c.workspace_id = w.id and c.verdict = 'human'
       and c.time >= n.day::timestamp at time zone w.time_zone
       and c.time < (n.day + 1)::timestamp at time zone w.time_zone
     group by 1) v
  left join kudos.links l on l.id = v.link_id
  left join kudos.domains d on d.id = l.domain_id;
comment on view report.visitors_by_link is
  'Different people who clicked a link on a day, counted exactly from single clicks. A pseudonym holds for one day of UTC and one domain: who clicks before and after midnight UTC, or comes back another day, counts again. Give a range of days: only these are read.';
comment on column report.visitors_by_link.workspace is 'The workspace that owned the link.';
comment on column report.visitors_by_link.day is 'Day in the workspace''s time zone.';
comment on column report.visitors_by_link.domain is 'Host of the short link.';
comment on column report.visitors_by_link.slug is 'What stands behind its slash.';
comment on column report.visitors_by_link.visitors is 'Different people with a pseudonym.';
comment on column report.visitors_by_link.unidentified is 'Clicks by people who have none (Sec-GPC, DNT): at least one person if above 0, at most so many.';
comment on column report.visitors_by_link.human is 'All clicks by people.';
comment on column report.visitors_by_link.link_id is 'The link.';

create view report.visitors_by_campaign as
select w.name as workspace,
       n.day,
       a.name as campaign,
       v.visitors,
       v.unidentified,
       v.human,
       v.campaign_id
  from kudos.workspaces w
 cross join kudos.click_days n
 cross join lateral (
    select c.campaign_id, count(distinct c.visitor) as visitors,
           count(*) filter (where c.visitor is null) as unidentified, count(*) as human
      from kudos.clicks c
     where c.workspace_id = w.id and c.verdict = 'human' and c.campaign_id is not null
       and c.time >= n.day::timestamp at time zone w.time_zone
       and c.time < (n.day + 1)::timestamp at time zone w.time_zone
     group by 1) v
  left join kudos.campaigns a on a.id = v.campaign_id;
comment on view report.visitors_by_campaign is
  'Different people who clicked any link of a campaign on a day, each counted once however many of its links (of one domain) they clicked; else as visitors_by_link.';
comment on column report.visitors_by_campaign.workspace is 'The workspace that runs it.';
comment on column report.visitors_by_campaign.day is 'Day in the workspace''s time zone.';
comment on column report.visitors_by_campaign.campaign is 'The campaign of the links at the time of the clicks.';
comment on column report.visitors_by_campaign.visitors is 'Different people with a pseudonym.';
comment on column report.visitors_by_campaign.unidentified is 'Clicks by people who have none.';
comment on column report.visitors_by_campaign.human is 'All clicks by people.';
comment on column report.visitors_by_campaign.campaign_id is 'The campaign.';

create view report.visitors_by_day as
select w.name as workspace,
       n.day,
       v.visitors,
       v.unidentified,
       v.human
  from kudos.workspaces w
 cross join kudos.click_days n
 cross join lateral (
    select count(distinct c.visitor) as visitors,
           count(*) filter (where c.visitor is null) as unidentified, count(*) as human
      from kudos.clicks c
     where c.workspace_id = w.id and c.verdict = 'human'
       and c.time >= n.day::timestamp at time zone w.time_zone
       and c.time < (n.day + 1)::timestamp at time zone w.time_zone
    having count(*) > 0) v;
comment on view report.visitors_by_day is
  'Different people who clicked any link of a workspace on a day, each counted once for each domain; else as visitors_by_link.';
comment on column report.visitors_by_day.workspace is 'The workspace.';
comment on column report.visitors_by_day.day is 'Day in the workspace''s time zone.';
comment on column report.visitors_by_day.visitors is 'Different people with a pseudonym.';
comment on column report.visitors_by_day.unidentified is 'Clicks by people who have none.';
comment on column report.visitors_by_day.human is 'All clicks by people.';

create view report.reclassified as
select w.name as workspace,
       r.reclassification_id,
       d.host as domain,
       l.slug,
       r.verdict_before,
       r.rule_before,
       r.verdict,
       r.rule,
       count(*) as clicks,
       min(r.time) as first_click,
       max(r.time) as last_click,
       n.reason,
       n.began_at as decided_at,
       n.made_by,
       n.undoes
  from kudos.reclassified r
  join kudos.reclassifications n on n.id = r.reclassification_id
  left join kudos.workspaces w on w.id = r.workspace_id
  left join kudos.links l on l.id = r.link_id
  left join kudos.domains d on d.id = l.domain_id
 group by w.name, r.reclassification_id, d.host, l.slug, r.verdict_before, r.rule_before, r.verdict,
          r.rule, n.reason, n.began_at, n.made_by, n.undoes;
comment on view report.reclassified is
  'What operators decided afterwards about stored clicks: per run and link, what they were before and became.';
comment on column report.reclassified.workspace is 'The workspace that owned the link.';
comment on column report.reclassified.reclassification_id is 'Number of the run.';
comment on column report.reclassified.domain is 'Host of the short link.';
comment on column report.reclassified.slug is 'What stands behind its slash.';
comment on column report.reclassified.verdict_before is 'Verdict before.';
comment on column report.reclassified.rule_before is 'The rule that had decided so; null for a plain human.';
comment on column report.reclassified.verdict is 'Verdict since.';
comment on column report.reclassified.rule is 'The rule that is stored since.';
comment on column report.reclassified.clicks is 'How many clicks.';
comment on column report.reclassified.first_click is 'Time of the first of them.';
comment on column report.reclassified.last_click is 'Time of the last of them.';
comment on column report.reclassified.reason is 'Why, in the operator''s words.';
comment on column report.reclassified.decided_at is 'When the run began.';
comment on column report.reclassified.made_by is 'The role that ran it.';
comment on column report.reclassified.undoes is 'The run that this one took back; null: none.';

grant select on all tables in schema report to kudos_analyst;
