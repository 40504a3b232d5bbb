-- Pages of the links of one campaign or influencer: in the order of the list, so that a page of a large
-- campaign reads a page of the index and not the whole campaign.

create index links_campaign_id on kudos.links (campaign_id, id);
drop index kudos.links_campaign;
create index links_influencer_id on kudos.links (influencer_id, id);
drop index kudos.links_influencer;
